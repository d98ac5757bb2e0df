"""Container images as a state: built from `images/`, current by content."""

from __future__ import annotations

from typing import Any

from salt.exceptions import CommandExecutionError


def built(name: str, images: list[str] | None = None, **options: Any) -> dict[str, Any]:
    """Ensure that images are built and current, and so is what they start from.

    :param name: ``all``, or one image if ``images`` is not given.
    :param images: Names of images.
    :param options: Options of docs/images.md, on top of the pillar's.

    .. code-block:: yaml

        Build the images of the cloud:
          image.built:
            - name: all
    """
    wanted = images or ([] if name == "all" else [name])
    chosen = {key: value for key, value in options.items() if not key.startswith("__")}
    result: dict[str, Any] = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        todo = __salt__["image.plan"](*wanted, **chosen)
        if not todo:
            result["comment"] = "All images are current"
        elif __opts__["test"]:
            result["result"] = None
            result["changes"] = {image: {"old": why, "new": "built"} for image, why in todo.items()}
            result["comment"] = f"Would build {', '.join(sorted(todo))}"
        else:
            done = __salt__["image.build"](*wanted, **chosen)
            result["changes"] = {
                image: {"old": todo[image], "new": text}
                for image, text in done.items()
                if image in todo
            }
            result["comment"] = f"Built {', '.join(sorted(result['changes']))}"
    except CommandExecutionError as error:
        result.update(result=False, comment=str(error))
    return result
