"""Layer sizes out of an image's history."""

from saltern.images import sizes


def step(size, by):
    return {"Size": size, "CreatedBy": by}


def test_settings_have_no_layer():
    history = [
        step(0, '/bin/sh -c #(nop)  CMD ["bash"]'),
        step(5, "/bin/sh -c apt-get install tini"),
        step(0, "/bin/sh -c #(nop)  ENV LANG=C.UTF-8"),
        step(0, "/bin/sh -c mkdir /x"),
        step(3, "/bin/sh -c #(nop) COPY dir:abc in /"),
        step(70, ""),
    ]
    assert sizes.layer_sizes(["a", "b", "c", "d"], history) == [70, 3, 0, 5]


def test_empty_steps_of_other_builders_do_not_shift_sizes():
    history = [step(9, "COPY x / # buildkit"), step(0, "WHATEVER"), step(70, "import")]
    assert sizes.layer_sizes(["a", "b"], history) == [70, 9]


def test_a_layer_is_shared_only_on_the_same_layers():
    one = sizes.chained(["a", "b"], [1, 2])
    other = sizes.chained(["x", "b"], [1, 2])
    assert one[0] != other[0]
    assert one[1][0] != other[1][0]
