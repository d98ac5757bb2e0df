"""The report: what it tells, where its pictures put things, and what its page is made of."""

from __future__ import annotations

import html.parser
import itertools
import json
import random
import re

import pytest
import reports
from clouds import load

from saltern.errors import SalternError
from saltern.report import course, facts, layers, page, timeline, tree
from saltern.report.scale import Scale, moment, passed
from saltern.run import history, plan

HOSTILE = '<script>alert("x")</script>\'"&</style></svg>'
CLOUDS = {
    **{name: load(name) for name in ("all-in-one", "multinode", "roles-apart-openvswitch")},
    "large": reports.large(),
}


def needs(cloud):
    """Return each service of a cloud with what it needs."""
    return {service: cloud.before(service) for service in cloud.services}


def random_graph(seed):
    """Return a graph of 30 without a circle."""
    numbers = random.Random(seed)
    return {
        f"n{number:02}": {f"n{one:02}" for one in range(number) if numbers.random() < 0.12}
        for number in range(30)
    }


GRAPHS = {name: needs(cloud) for name, cloud in CLOUDS.items()} | {
    f"random {seed}": random_graph(seed) for seed in range(8)
}


def along(line):
    """Return many points of a line: of curves by the formula of Bezier, of straight parts as they are."""
    points = []
    curved = itertools.cycle((True, False))
    for is_curve, ((x, y), (to_x, to_y)) in zip(
        curved, itertools.pairwise(line.points), strict=False
    ):
        for step in range(21):
            t = step / 20
            if is_curve:
                # Both handles are half way, at the height of their ends.
                part = 3 * t * (1 - t) ** 2 * 0.5 + 3 * t**2 * (1 - t) * 0.5 + t**3
                points.append((x + (to_x - x) * part, y + (to_y - y) * (3 * t**2 - 2 * t**3)))
            else:
                points.append((x + (to_x - x) * t, to_y))
    return points


@pytest.mark.parametrize("name", GRAPHS)
def test_no_line_goes_through_a_box_and_no_box_lies_on_another(name):
    drawn = layers.draw(GRAPHS[name])
    for line in drawn.lines:
        for x, y in along(line):
            for box in drawn.boxes:
                inside = 0 < x - box.x < box.WIDTH and 0 < y - box.y < box.HEIGHT
                assert not inside, (line.start, line.end, box.name)
    for one, other in itertools.combinations(drawn.boxes, 2):
        apart = abs(one.x - other.x) >= box.WIDTH or abs(one.y - other.y) >= box.HEIGHT
        assert apart, (one.name, other.name)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_service_stands_right_of_all_it_needs_and_inside_the_picture(name):
    drawn = layers.draw(GRAPHS[name])
    places = {box.name: box for box in drawn.boxes}
    assert set(places) == set(GRAPHS[name])
    for service, needed in GRAPHS[name].items():
        assert all(places[one].x < places[service].x for one in needed)
    assert all(
        0 <= box.x <= drawn.width - box.WIDTH and 0 <= box.y <= drawn.height - box.HEIGHT
        for box in drawn.boxes
    )
    for line in drawn.lines:
        assert all(0 <= x <= drawn.width and 0 <= y <= drawn.height for x, y in along(line))


@pytest.mark.parametrize("name", GRAPHS)
def test_from_the_lines_follows_all_that_is_needed_and_no_line_is_superfluous(name):
    lines = {(line.start, line.end) for line in layers.draw(GRAPHS[name]).lines}

    def reached(end, without=None):
        below = {start for start, one in lines if one == end and (start, one) != without}
        return below.union(*(reached(one, without) for one in below))

    every = {}
    for service in GRAPHS[name]:
        every[service] = reached(service)
        assert set(GRAPHS[name][service]) <= every[service]
    assert all(start not in reached(end, (start, end)) for start, end in lines)


def test_an_empty_graph_and_a_single_box_are_pictures_too():
    assert layers.draw({}).boxes == []
    assert layers.draw({"a": []}).lines == []
    assert layers.draw({"a": [], "b": ["a"]}).lines[0].path.startswith("M160 ")


@pytest.mark.parametrize(
    ("wanted", "gaps", "places"),
    [
        ([0, 100], [10], [0, 100]),
        ([50, 50], [10], [45, 55]),
        ([50, 0], [10], [20, 30]),
        ([0, 0, 0], [10, 10], [-10, 0, 10]),
        ([], [], []),
    ],
)
def test_what_wants_the_same_place_is_moved_apart_as_little_as_can_be(wanted, gaps, places):
    assert layers.settled(wanted, gaps) == places


@pytest.mark.parametrize("length", [3, 59, 200, 4000, 90_000, 2e6, 4e8])
def test_a_scale_has_a_few_round_ticks_in_order(length):
    scale = Scale(reports.NOW - length, reports.NOW, 100, 900)
    ticks = scale.ticks(8, moment)
    assert 1 <= len(ticks) <= 10
    places = [one.at for one in ticks]
    assert places == sorted(places) and places[0] >= 100 and places[-1] <= 900


def test_times_are_said_as_people_say_them():
    said = [passed(one) for one in (0, 5, 60, 90, 600, 3600, 7200)]
    assert said == ["0", "5 s", "1 min", "1:30 min", "10 min", "1 h", "2 h"]


@pytest.mark.parametrize("name", CLOUDS)
def test_the_timeline_of_a_run_keeps_the_order_of_time_and_stays_in_its_frame(name):
    cloud = CLOUDS[name]
    run = reports.deployed(cloud, reports.NOW, failed="nova" if name == "large" else "")
    drawn = timeline.draw(run)
    phases = [row for row in drawn.rows if row.kind == "phase"]
    services = [row for row in drawn.rows if row.kind == "service"]
    assert [row.title for row in phases] == [one["phase"] for one in run["phases"]]
    assert {row.title for row in services} == set(cloud.services)
    apply = run["phases"][6]["phase"]
    kinds = [row.kind for row in drawn.rows]
    assert kinds == ["phase"] * 7 + ["service"] * len(services) + ["phase"] * (len(phases) - 7)
    assert drawn.rows[6].title == apply
    for rows in (phases, services):
        begins = [row.bars[0].x for row in rows]
        assert begins == sorted(begins)
    for row in drawn.rows:
        assert all(bar.x >= 330 and bar.x + bar.width <= 1004 for bar in row.bars)
    failed = ["nova"] if name == "large" else []
    assert [row.title for row in services if not row.ok] == failed
    # A hundred hosts are not a hundred bars.
    assert sum(len(row.bars) for row in drawn.rows) < 100
    assert drawn.height >= drawn.rows[-1].y


def test_hosts_that_work_one_after_the_other_are_bars_of_their_own():
    parts = {"a": (5, 10), "b": (5, 20), "c": (5, 21), "d": (5, 40)}
    services = {
        "x": {host: {"states": 1, "seconds": s, "ended": e} for host, (s, e) in parts.items()}
    }
    (row,) = timeline.draw(reports.run(1, 0, 60, services=services)).rows
    assert len(row.bars) == 3
    assert row.note == "35.0 s, 4 hosts"


def test_a_run_of_before_shows_its_phases_one_after_the_other():
    phases = [
        {"phase": name, "ok": True, "seconds": 10.0, "said": "", "changed": []} for name in "abc"
    ]
    run = reports.run(1, 0, 30.0, phases=phases, services={"x": {"one": {"states": 1}}})
    drawn = timeline.draw(run)
    begins = [row.bars[0].x for row in drawn.rows[:3]]
    assert begins == sorted(set(begins))
    assert (drawn.rows[3].bars, drawn.rows[3].note) == ([], "1 host")
    assert timeline.of_hosts(run)[0]["seconds"] is None


def test_what_hosts_did_adds_up():
    run = reports.deployed(CLOUDS["multinode"], reports.NOW)
    worked = timeline.of_hosts(run)
    parts = [part for hosts in run["services"].values() for part in hosts.values()]
    assert sum(one["services"] for one in worked) == len(parts)
    assert sum(one["states"] for one in worked) == sum(part["states"] for part in parts)
    total = sum(one["seconds"] for one in worked)
    assert total == pytest.approx(sum(part["seconds"] for part in parts))
    assert [one["seconds"] for one in worked] == sorted(
        (one["seconds"] for one in worked), reverse=True
    )


def test_runs_stand_in_the_order_of_time_the_longer_the_higher():
    runs = reports.data()["runs"]
    drawn = course.draw(runs, [], reports.NOW)
    assert len(drawn.marks) == len(runs)
    by_time = sorted(zip(runs, drawn.marks, strict=True), key=lambda pair: pair[0]["started"])
    assert [mark.x for _, mark in by_time] == sorted(mark.x for mark in drawn.marks)
    by_length = sorted(zip(runs, drawn.marks, strict=True), key=lambda pair: pair[0]["seconds"])
    assert [mark.y for _, mark in by_length] == sorted((m.y for m in drawn.marks), reverse=True)
    assert all(70 <= one.x <= 1160 and 0 < one.y < drawn.bottom for one in drawn.marks)


def test_the_lines_of_lengths_stand_where_runs_of_that_length_do():
    runs = [
        {"started": reports.NOW, "seconds": second, "kind": "", "title": ""}
        for second in (1, 10, 60, 600, 3600)
    ]
    drawn = course.draw(runs, [], reports.NOW)
    assert [one.at for one in drawn.lengths] == pytest.approx([mark.y for mark in drawn.marks])


def test_incidents_at_the_same_time_are_drawn_below_each_other():
    ends = [reports.NOW - 3600, None, reports.NOW - 100]
    incidents = [
        {"since": reports.NOW - 7200 + at, "until": end, "title": ""} for at, end in enumerate(ends)
    ]
    drawn = course.draw([], incidents, reports.NOW)
    assert len({one.y for one in drawn.spans}) == 3
    assert [one.open for one in drawn.spans] == [False, True, False]
    assert all(one.y + 10 <= drawn.height and one.x + one.width <= 1160 for one in drawn.spans)
    many = [{"since": reports.NOW - 50, "until": None, "title": ""}] * 40
    assert course.draw([], many, reports.NOW).height < 400


def test_sizes_of_images_add_up():
    listed = reports.data()["images"]["tree"]
    sizes = {one["name"]: one["size"] for one in listed}
    for one in listed:
        assert one["size"] == one["added"] + sizes.get(one["parent"], 0)
    drawn = tree.draw(listed)
    scale = {round((row.shared + row.own) / row.node["size"], 12) for row in drawn.rows}
    assert len(scale) == 1
    assert max(row.bar + row.shared + row.own for row in drawn.rows) <= 930.001
    above = {row.node["name"]: row for row in drawn.rows}
    for row in drawn.rows:
        if row.node["parent"]:
            parent = above[row.node["parent"]]
            assert row.shared == pytest.approx(parent.shared + parent.own)
            assert (parent.x, parent.y) < (row.x, row.y)


def test_an_image_that_is_not_here_or_older_than_what_it_starts_from_has_no_negative_size():
    made = tree.nodes({"base": [], "a": ["base", "b"], "b": ["base"]}, {"base": 100, "a": 90})
    assert [(one.name, one.size, one.added, one.others) for one in made] == [
        ("base", 100, 100, []),
        ("a", 90, 0, ["b"]),
        ("b", None, 0, []),
    ]


def test_hosts_that_run_the_same_are_one_group():
    data = reports.data(reports.large())
    assert [(one["roles"], len(one["hosts"])) for one in data["groups"]] == [
        (["control"], 3),
        (["network"], 3),
        (["compute"], 94),
    ]


def test_a_host_is_well_or_has_findings_or_is_silent_or_in_maintenance():
    data = reports.data(trouble=True)
    assert {one["name"]: one["state"] for one in data["hosts"]} == {
        "control1": facts.WELL,
        "control2": facts.BAD,
        "control3": facts.WELL,
        "compute1": facts.RESTING,
        "compute2": facts.UNKNOWN,
    }
    states = {one["name"]: one["state"] for one in data["services"]}
    assert [name for name, state in states.items() if state != facts.WELL] == ["mariadb", "glance"]
    (galera,) = [one for one in data["clusters"] if one["container"] == "mariadb"]
    assert galera["up"] == 2
    assert [one["kind"] for one in galera["members"]] == ["", "stopped", ""]


def test_what_is_in_maintenance_is_shown_apart_and_is_no_alarm():
    cloud = CLOUDS["multinode"]
    told = reports.status(cloud, ("compute2",), {"control1": {"glance-api": "stopped"}})
    told["silenced"], told["findings"] = told["findings"], []
    resting = {"reason": "disk", "who": "ann", "since": reports.NOW, "until": reports.NOW + 60}
    told["maintenance"] = [
        {"host": "compute2", "service": "", **resting},
        {"host": "control1", "service": "glance", **resting},
    ]
    data = facts.gather(cloud, told, [], {"unknown": ""}, reports.NOW)
    states = {one["name"]: one["state"] for one in [*data["hosts"], *data["services"]]}
    assert (states["compute2"], states["glance"]) == (facts.RESTING, facts.RESTING)
    assert (states["control1"], states["keystone"]) == (facts.WELL, facts.WELL)
    text = page.render(data)
    assert "All well" in text and "All is well, but for what is in maintenance." in text
    assert "2 findings of it, which are no alarm" in text
    assert "<b>glance on control1</b> until" in text and "Next:" not in text


def test_nothing_is_known_of_a_service_none_of_whose_hosts_answer():
    cloud = CLOUDS["multinode"]
    told = reports.status(cloud, ("compute1", "compute2"))
    data = facts.gather(cloud, told, [], {"unknown": "Docker does not answer"}, reports.NOW)
    states = {one["name"]: one["state"] for one in data["services"]}
    assert (states["libvirt"], states["keystone"]) == (facts.UNKNOWN, facts.WELL)
    text = page.render(data)
    assert "no answer" in text and "Docker does not answer" in text and "No run yet" in text


def test_what_the_status_brings_more_gets_a_section_and_incidents_are_drawn():
    text = page.render(
        reports.data(
            incidents=reports.INCIDENTS,
            drift={"at": 0.0, "hosts": {"control1": {"glance": ["glance.conf"]}}, "silent": []},
        )
    )
    assert '<h2 id="incidents">' in text and '<h2 id="drift">' in text
    assert text.count('class="span') == len(reports.INCIDENTS) + 2  # and the legend
    assert '<h2 id="backups">' not in text


class Page(html.parser.HTMLParser):
    """Reads a page: its elements, the ids, and what stands open."""

    VOID = ("meta", "br", "link", "img")

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), [one for one, _ in self.open]))
        if tag not in self.VOID:
            self.open.append((tag, self.getpos()))

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), [one for one, _ in self.open]))

    def handle_endtag(self, tag):
        opened, at = self.open.pop()
        assert opened == tag, f"{opened} of {at} is closed by {tag} at {self.getpos()}"


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("trouble", [False, True])
def test_a_page_is_well_formed_and_asks_for_nothing(name, trouble):
    if trouble and name != "large":
        name = "multinode"
    read = Page(page.render(reports.data(CLOUDS[name], trouble, incidents=reports.INCIDENTS)))
    tags = {tag for tag, *_ in read.elements}
    assert tags.isdisjoint({"script", "link", "img", "iframe", "object", "base", "form"})
    ids = [one["id"] for _, one, _ in read.elements if "id" in one]
    assert len(ids) == len(set(ids))
    for tag, one, _ in read.elements:
        assert not any(key.startswith("on") or key == "src" for key in one), tag
        for key in ("href", "aria-labelledby"):
            if key in one:
                assert one[key].removeprefix("#") in ids, one[key]
                assert key != "href" or one[key].startswith("#")
    cells = [(one.get("scope"), within) for tag, one, within in read.elements if tag == "th"]
    assert cells and all(scope in ("col", "row") for scope, _ in cells)


@pytest.mark.parametrize("name", ["all-in-one", "large"])
def test_a_page_is_small_and_its_boxes_are_few(name):
    text = page.render(reports.data(CLOUDS[name], True))
    assert len(text) < 300_000
    assert text.count("<rect") < 400


def hostile(value):
    """Return data with something nasty in every text that comes from the cloud."""
    if isinstance(value, dict):
        return {
            key: one if key in ("state", "kind") else hostile(one) for key, one in value.items()
        }
    if isinstance(value, list):
        return [hostile(one) for one in value]
    return f"{value}{HOSTILE}" if isinstance(value, str) and value else value


def test_whatever_the_cloud_says_stays_text():
    data = hostile(reports.data(trouble=True, incidents=reports.INCIDENTS))
    # The column's names are the library's, the cells are not.
    data["tables"] = {name.removesuffix(HOSTILE): one for name, one in data["tables"].items()}
    text = page.render(data)
    assert "<script" not in text
    assert text.count("</style>") == 2
    plain = Page(page.render(reports.data(trouble=True, incidents=reports.INCIDENTS)))
    read = Page(text)
    assert [tag for tag, *_ in read.elements] == [tag for tag, *_ in plain.elements]
    # No name of the cloud is an attribute's name, an id or a class.
    for (_, one, _), (_, other, _) in zip(read.elements, plain.elements, strict=True):
        assert list(one) == list(other)
        for key in ("id", "class", "href", "style"):
            assert HOSTILE not in (one.get(key) or "")


def test_no_secret_is_on_the_page():
    told = reports.status(CLOUDS["multinode"], bad={"control1": {"glance-api": "unhealthy"}})
    told["findings"][0]["finding"] = "cannot log in with hunter22<&>"
    secrets = {"glance": {"password": "hunter22<&>"}}
    data = facts.gather(CLOUDS["multinode"], told, [], {"unknown": "hunter22<&>"}, reports.NOW)
    assert "hunter22" in page.render(data)
    text = page.render(plan.hide(data, secrets))
    assert "hunter22" not in text and "***" in text


def test_the_data_can_be_json():
    assert json.loads(json.dumps(reports.data(trouble=True)))["release"] == "2026.2"


def test_every_end_of_a_run_has_a_shape_of_its_own():
    ends = (history.RUNNING, history.FAILED, history.INTERRUPTED, history.KILLED, history.DONE)
    runs = [
        reports.run(number, reports.NOW - number, 3.0, result=end)
        for number, end in enumerate(ends)
    ]
    changing = {"x": {"one": {"states": 1}}}
    runs.append(reports.run(9, reports.NOW, 3.0, services=changing))
    told = reports.status(CLOUDS["multinode"])
    text = page.render(facts.gather(CLOUDS["multinode"], told, runs, {"unknown": ""}, reports.NOW))
    legend = re.search(r'<ul class="legend">\s*(<li><svg width="18".*?)</ul>', text, re.S)[1]
    shapes = re.findall(r'<g [^>]*>\s*(<\w+ (?:r|d|x)="[^"]*")', legend)
    assert len(shapes) == len(set(shapes)) == 6


CSS = (page._TEMPLATES / "page.css").read_text()


def colours(block):
    """Return the colours that a block of the style sets: name to red, green and blue."""
    found = re.findall(r"--([a-z-]+): #([0-9a-f]{6})", block)
    return {name: [int(value[at : at + 2], 16) / 255 for at in (0, 2, 4)] for name, value in found}


def contrast(one, other):
    """Return the contrast of two colours as WCAG 2 defines it."""

    def light(colour):
        parts = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour
        ]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_every_text_has_the_contrast_of_wcag_aa(mode):
    light, dark = re.findall(r":root \{(.*?)\}", CSS, re.S)[:2]
    found = colours(light if mode == "light" else dark)
    for ground in ("ground", "panel"):
        for text in ("ink", "muted", "accent", "well", "bad", "rest", "unknown"):
            assert contrast(found[text], found[ground]) >= 4.5, (text, ground)
    for state in ("well", "bad", "rest", "unknown"):
        assert contrast(found[state], found[f"{state}-soft"]) >= 4.5, state
        assert contrast(found["ink"], found[f"{state}-soft"]) >= 4.5, state


def test_the_page_goes_where_the_operator_says(tmp_path):
    default = tmp_path / "var/report.html"
    assert page.target(None, default) == default and default.parent.is_dir()
    assert page.target(str(tmp_path), default) == tmp_path / "report.html"
    assert page.target(str(tmp_path / "x.html"), default) == tmp_path / "x.html"
    page.write(tmp_path / "x.html", "<!DOCTYPE html>")
    assert (tmp_path / "x.html").stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["x.html"]


@pytest.mark.parametrize("path", [True, "", " ", 5, "/nowhere/x.html", "/dev/null"])
def test_a_path_that_cannot_be_is_refused_with_a_remedy(path, tmp_path):
    with pytest.raises(SalternError, match="path: .*(such as|make it|another path)"):
        page.target(path, tmp_path / "report.html")
