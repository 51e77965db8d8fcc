"""Files as labelme and tools of COCO write them."""

import base64
import io
import json

from PIL import Image


def labelme_shape(points, kind="polygon", label="object", **more):
    return {
        "label": label, "points": points, "group_id": None, "description": "", "shape_type": kind, "flags": {},
        "mask": None, **more,
    }  # fmt: skip


def painted(corner, mask):
    """A shape of labelme's brush: the box around it, its corners inclusive, and a PNG of the pixels in it."""
    buffer = io.BytesIO()
    Image.fromarray(mask.astype("uint8") * 255).convert("1").save(buffer, format="PNG")
    (left, top), (height, width) = corner, mask.shape
    points = [[left, top], [left + width - 1, top + height - 1]]
    return labelme_shape(points, "mask", mask=base64.b64encode(buffer.getvalue()).decode())


def labelme(path, picture, size, *shapes, **more):
    """A file of labelme 5; ``size`` is width and height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "version": "5.5.0", "flags": {}, "shapes": list(shapes), "imagePath": picture, "imageData": None,
        "imageHeight": size[1], "imageWidth": size[0], **more,
    }  # fmt: skip
    path.write_text(json.dumps(content, indent=2))


def coco(path, pictures, annotations, categories=("thing",)):
    """A file of COCO: ``pictures`` are (name, width, height), ``annotations`` are (number of the picture, keys)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "info": {"year": 2026, "version": "1.0", "description": "", "contributor": "", "url": ""},
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "images": [
            {"id": i + 1, "width": width, "height": height, "file_name": name, "license": 0, "date_captured": 0}
            for i, (name, width, height) in enumerate(pictures)
        ],
        "annotations": [
            {"id": i + 1, "image_id": number + 1, "category_id": 1, "iscrowd": 0, "area": 1.0, "bbox": [0, 0, 1, 1],
             "attributes": {"occluded": False}, **keys}
            for i, (number, keys) in enumerate(annotations)
        ],
        "categories": [{"id": i + 1, "name": name, "supercategory": ""} for i, name in enumerate(categories)],
    }  # fmt: skip
    path.write_text(json.dumps(content))
