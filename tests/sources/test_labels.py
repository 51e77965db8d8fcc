import json

import pytest
from sources.photo_files import save_photo

from captum_paramsal.errors import SourceError
from captum_paramsal.sources import ClassNames, labels_from_csv, labels_from_folders

PETS = ClassNames({0: "cat", 1: "dog", 2: "guinea pig"}, {"n01": 0})


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png", "sub/c.JPG"):
        save_photo(tmp_path / "photos" / name)
    return tmp_path / "photos"


def _table(folder, text, **options):
    path = folder.parent / "labels.csv"
    path.write_text(text, encoding=options.pop("encoding", "utf-8"))
    return labels_from_csv(path, folder, **options)


def _pairs(labels):
    return [(item.name, item.label) for item in labels.items]


def test_numbers_names_and_further_columns(folder):
    labels = _table(
        folder, "file,label,name,note,wnid\na.png,3,cat,in the dark,n01\nsub/c.JPG,5,dog,,n02\nb.png,3,cat,,\n"
    )
    assert _pairs(labels) == [("a.png", 3), ("sub/c.JPG", 5), ("b.png", 3)]
    assert dict(labels.classes) == {3: "cat", 5: "dog"}
    assert labels.items[0].note == "in the dark"
    assert labels.items[0].extra["wnid"] == "n01"
    assert labels.skipped == ()


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_class_names_as_labels(folder, separator, encoding):
    lines = [("file", "label"), ("a.png", "Guinea Pig"), ("b.png", "n01"), ("sub/c.JPG", " 1 ")]
    text = "\n".join(separator.join(line) for line in lines)
    labels = _table(folder, text, classes=PETS, encoding=encoding)
    assert _pairs(labels) == [("a.png", 2), ("b.png", 0), ("sub/c.JPG", 1)]


def test_a_name_column_translates_labels_that_are_names(folder):
    labels = _table(folder, "file,label,name\na.png,3,cat\nb.png,cat,\nsub/c.JPG,3,cat\n")
    assert _pairs(labels) == [("a.png", 3), ("b.png", 3), ("sub/c.JPG", 3)]


def test_what_is_skipped_is_named(folder):
    labels = _table(folder, "file,label\na.png,1\ngone.png,1\nb.png,\n")
    assert _pairs(labels) == [("a.png", 1)]
    assert [(skip.name, skip.reason) for skip in labels.skipped] == [
        ("b.png", "no label in labels.csv"),
        ("gone.png", "no such file"),
        ("sub/c.JPG", "no label in labels.csv"),
    ]


def test_images_that_are_not_listed_may_belong_to_another_table(folder):
    labels = _table(folder, "file,label\na.png,1\ngone.png,1\n", unlisted=False)
    assert [skip.name for skip in labels.skipped] == ["gone.png"]


def test_a_file_listed_twice_with_one_label_counts_once(folder):
    assert _pairs(_table(folder, "file,label\na.png,1\na.png,1\n")) == [("a.png", 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,class\na.png,1\n", "'file' and 'label' in .*, got 'path', 'class'"),
        ("", "'file' and 'label' in .*, got nothing"),
        ("file,label\n", "got a header and no line"),
        ("file,label\na.png,cat\n", "class numbers as labels in .*, got 'cat'.*--classes FILE.json"),
        ("file,label\na.png,-1\n", "Line 2 of .*got '-1'"),
        ("file,label,name\na.png,1,cat\nb.png,kat,\n", "Line 3 of .*got 'kat'. Nearest: cat"),
        ("file,label\na.png,1\na.png,2\n", "got 1 and 2 for 'a.png'"),
    ],
)
def test_tables_that_cannot_be_used(folder, text, message):
    with pytest.raises(SourceError, match=message):
        _table(folder, text)


def test_table_that_is_not_there_or_no_text(folder, tmp_path):
    with pytest.raises(SourceError, match=r"label file at '.*gone.csv', got FileNotFoundError"):
        labels_from_csv(tmp_path / "gone.csv", folder)
    with pytest.raises(SourceError, match="got UnicodeDecodeError"):
        labels_from_csv(folder / "a.png", folder)
    with pytest.raises(SourceError, match=r"folder of images at '.*nowhere', got nothing"):
        labels_from_csv(tmp_path / "labels.csv", tmp_path / "nowhere")


@pytest.fixture
def class_folders(tmp_path):
    for name in ("zebra/1.png", "ant/2.png", "ant/deep/3.png"):
        save_photo(tmp_path / name)
    (tmp_path / "ant" / "notes.txt").write_text("not a photo")
    save_photo(tmp_path / "loose.png")
    return tmp_path


def test_folders_in_alphabetical_order(class_folders):
    labels = labels_from_folders(class_folders)
    assert _pairs(labels) == [("ant/2.png", 0), ("ant/deep/3.png", 0), ("zebra/1.png", 1)]
    assert dict(labels.classes) == {0: "ant", 1: "zebra"}
    assert [(skip.name, skip.reason) for skip in labels.skipped] == [
        ("ant/notes.txt", "not an image file"),
        ("loose.png", "in no class folder"),
    ]


def test_folders_named_after_known_classes(class_folders):
    known = ClassNames({4: "zebra", 9: "emmet"}, {"ant": 9})
    assert _pairs(labels_from_folders(class_folders, known))[0] == ("ant/2.png", 9)
    assert labels_from_folders(class_folders, known).classes is known


def test_folders_that_are_no_known_classes_are_counted(class_folders):
    assert _pairs(labels_from_folders(class_folders, PETS))[-1] == ("zebra/1.png", 1)


def test_folders_called_by_numbers(tmp_path):
    for name in ("2/a.png", "10/b.png"):
        save_photo(tmp_path / name)
    assert _pairs(labels_from_folders(tmp_path)) == [("10/b.png", 10), ("2/a.png", 2)]


def test_folders_that_cannot_be_used(class_folders, tmp_path):
    with pytest.raises(SourceError, match="by one of 1 known names, got 1 that are not: ant"):
        labels_from_folders(class_folders, ClassNames({0: "zebra"}))
    with pytest.raises(SourceError, match="got a file"):
        labels_from_folders(class_folders / "loose.png")
    save_photo(tmp_path / "flat" / "a.png")
    (tmp_path / "labels.csv").write_text("file,label\n")
    with pytest.raises(SourceError, match=r"got none. If a table has the labels, name it: `--labels .*labels.csv`"):
        labels_from_folders(tmp_path / "flat")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (["tench", "goldfish"], {0: "tench", 1: "goldfish"}),
        ([["n1", "tench"], ["n2", "goldfish"]], {0: "tench", 1: "goldfish"}),
        ({"3": "tench", "7": ["n2", "goldfish"]}, {3: "tench", 7: "goldfish"}),
    ],
)
def test_class_names_from_json(tmp_path, content, expected):
    (tmp_path / "c.json").write_text(json.dumps(content))
    assert dict(ClassNames.from_json(tmp_path / "c.json")) == expected


@pytest.mark.parametrize("content", ['"tench"', "[]", "[1, 2]", '{"first": "tench"}', "[[]]", "7"])
def test_json_without_class_names(tmp_path, content):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(SourceError, match=r"class names in '.*c.json' as"):
        ClassNames.from_json(tmp_path / "c.json")


def test_class_names_that_cannot_be_read(tmp_path):
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(SourceError, match="JSONDecodeError"):
        ClassNames.from_json(tmp_path / "c.json")
    with pytest.raises(SourceError, match="FileNotFoundError"):
        ClassNames.from_json(tmp_path / "d.json")


def test_a_name_that_two_classes_share():
    with pytest.raises(SourceError, match=r"got 'crane', which classes \[0, 1\] share"):
        ClassNames({0: "crane", 1: "crane"}).number("crane")
