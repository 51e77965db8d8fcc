import json
import os

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
        ("picture,kind\na.png,1\n", "'file' and 'label' in .*, got 'picture', 'kind'"),
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


def _photos(folder, *names):
    for name in names:
        save_photo(folder / name)
    return folder


@pytest.mark.parametrize(
    "names", [["Biene/1.png", "Katze/1.png"], ["n022/1.png", "n021/1.png"], ["train/cat/1.png", "val/cat/2.png"]]
)
def test_folders_that_match_no_name_that_was_given_are_refused(tmp_path, names):
    with pytest.raises(SourceError, match=r"by one of 3 known names, got 2 that are not: .*--classes"):
        labels_from_folders(_photos(tmp_path, *names), PETS)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([str(i) for i in range(1, 11)], ["1", "9"]),
        (["1", "10", "2"], ["1", "10", "2"]),
        (["101", "205"], ["101", "205"]),
        (["001", "002", "003"], ["1", "3"]),
    ],
)
def test_names_that_are_numbers_win_over_the_numbers_of_classes(tmp_path, names, words):
    classes = ClassNames(dict(enumerate(names)))
    right = {word: next(i for i, name in enumerate(names) if int(name) == int(word)) for word in words}
    folder = _photos(tmp_path / "p", *(f"{word}/a.png" for word in words))
    with pytest.warns(UserWarning, match="the name of one class and the number of another, and are taken as names"):
        labels = labels_from_folders(folder, classes)
    assert _pairs(labels) == [(f"{word}/a.png", right[word]) for word in words]
    rows = "".join(f"{word}/a.png,{word}.0\n" for word in words)
    with pytest.warns(UserWarning, match="taken as names"):
        labels = _table(folder, f"file,label\n{rows}", classes=classes)
    assert _pairs(labels) == [(f"{word}/a.png", right[word]) for word in words]


def test_numbers_beside_names_that_are_other_numbers_are_refused(tmp_path):
    classes = ClassNames(dict(enumerate("123")))
    for words, message in ((["0", "1"], "'0', which are no names, beside '1'"), (["0"], "numbers may mean either")):
        with pytest.raises(SourceError, match=message):
            classes.numbers(words)
    aircraft = ClassNames({0: "A300", 1: "747"})
    assert aircraft.numbers(["0", "1"]) == {"0": 0, "1": 1}
    assert ClassNames({0: "0", 1: "1"}).numbers(["1", "7"]) == {"1": 1, "7": 7}
    assert _table(_photos(tmp_path / "p", "a.png"), "file,label,name\na.png,1,2\n").items[0].label == 1


def test_what_systems_leave_behind_is_no_class_and_is_named(tmp_path):
    _photos(tmp_path, "cat/a.png", "dog/b.png", "__MACOSX/cat/c.png", "@eaDir/x.png", "lost+found/y.png")
    _photos(tmp_path, "cat/.ipynb_checkpoints/a-checkpoint.png", "dog/@eaDir/b.png/THUMB_M.png", "$RECYCLE.BIN/z.png")
    (tmp_path / "cat" / "._a.png").write_bytes(b"\0\5\x16\7")
    labels = labels_from_folders(tmp_path)
    assert _pairs(labels) == [("cat/a.png", 0), ("dog/b.png", 1)]
    assert {skip.name for skip in labels.skipped} == {
        "$RECYCLE.BIN",
        "@eaDir",
        "__MACOSX",
        "lost+found",
        "cat/._a.png",
        "cat/.ipynb_checkpoints",
        "dog/@eaDir",
    }
    table = _table(tmp_path, "file,label\ncat/a.png,1\n")
    assert {skip.name: skip.reason for skip in table.skipped}["dog/b.png"] == "no label in labels.csv"
    assert "__MACOSX" in {skip.name for skip in table.skipped}


def test_a_folder_of_other_files_would_move_the_labels_and_is_refused(tmp_path):
    _photos(tmp_path, "cat/a.png", "dog/b.png")
    (tmp_path / "bee").mkdir()
    assert dict(labels_from_folders(tmp_path).classes) == {0: "bee", 1: "cat", 2: "dog"}
    (tmp_path / "bee" / "notes.txt").write_text("")
    with pytest.raises(SourceError, match=r"got 1 that hold other files alone: bee. Move them away"):
        labels_from_folders(tmp_path)


def test_what_cannot_be_read_is_named_with_its_reason(tmp_path, monkeypatch):
    _photos(tmp_path / "photos", "0/a.png", "1/b.png", "2/c.png")
    (tmp_path / "photos/1/dangling.png").symlink_to("nowhere.png")
    (tmp_path / "photos/1/loop.png").symlink_to("loop.png")
    (tmp_path / "photos/1/device.png").symlink_to("/dev/null")
    (tmp_path / "photos/1/up").symlink_to("..")
    os.mkfifo(tmp_path / "photos/1/pipe.png")
    _photos(tmp_path / "elsewhere", "d.png")
    (tmp_path / "photos/1/linked").symlink_to(tmp_path / "elsewhere")
    scan = os.scandir

    def denied(path):
        if str(path).endswith("2"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", denied)
    labels = labels_from_folders(tmp_path / "photos")
    assert _pairs(labels) == [("0/a.png", 0), ("1/b.png", 1), ("1/linked/d.png", 1)]
    assert {skip.name: skip.reason for skip in labels.skipped} == {
        "1/dangling.png": "a link to nothing",
        "1/loop.png": "a link to itself",
        "1/device.png": "no file, but a pipe, a socket or a device",
        "1/pipe.png": "no file, but a pipe, a socket or a device",
        "1/up": "a link to a folder that it lies in",
        "2": "cannot be read: Permission denied",
    }
    table = _table(tmp_path / "photos", "file,label\n0/a.png,0\n1/dangling.png,1\n1/pipe.png,1\n1,1\n", unlisted=False)
    reasons = ["a link to nothing", "no file, but a pipe, a socket or a device", "a folder"]
    assert [skip.reason for skip in table.skipped] == reasons


@pytest.mark.parametrize("header", ["file,label", "filename,class", "image,label", "path,target", "Image,Label,y"])
def test_columns_by_their_usual_names(folder, header):
    assert _pairs(_table(folder, f"{header}\na.png,1.0,7\nb.png,2.,7\n")) == [("a.png", 1), ("b.png", 2)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_tables_in_other_unicode(folder, encoding):
    assert _pairs(_table(folder, "sep=;\r\nfile;label\r\na.png;1\r\n", encoding=encoding)) == [("a.png", 1)]


@pytest.mark.parametrize(
    "rows", ["./a.png,0\n./sub//c.JPG,1\n", "{0}/a.png,0\n{0}/sub/c.JPG,1\n", "sub/../a.png,0\nsub\\c.JPG,1\n"]
)
def test_a_file_is_one_file_however_its_path_is_written(folder, rows):
    labels = _table(folder, "file,label\n" + rows.format(folder))
    assert _pairs(labels) == [("a.png", 0), ("sub/c.JPG", 1)]
    assert [skip.name for skip in labels.skipped] == ["b.png"]
    with pytest.raises(SourceError, match=r"got 0 and 5 for 'a.png'"):
        _table(folder, "file,label\n" + rows.format(folder) + "a.png,5\n")


def test_cells_may_hold_line_breaks(folder):
    labels = _table(folder, 'file,label,note\na.png,1,"two\nlines"\nb.png,2,"a\u2028b"\n')
    assert [item.note for item in labels.items] == ["two\nlines", "a\u2028b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"file,label\na.png,{'9' * 5000}\n", "Line 2 of .*at most 9 digits, got '9{20}' of 5000 digits"),
        ("file,label\nb.png,1\na.png,99999999999999999999\n", "Line 3 of .*at most 9 digits"),
        (f"file,label\na.png,1,{'x' * 200_000}\n", "line 2 that cannot be read: field larger than field limit"),
        (
            "image,path,label\na.png,a.png,1\n",
            "one column of files in .*, got 'image', 'path'. Call the right one 'file'",
        ),
        ("file,label\na.png,1.5\n", "class numbers as labels in .*, got '1.5'"),
    ],
)
def test_tables_that_nobody_meant(folder, text, message):
    with pytest.raises(SourceError, match=message):
        _table(folder, text)


def test_a_name_that_is_too_long_is_no_file(folder):
    labels = _table(folder, f"file,label\n{'x' * 300}.png,1\na.png,1\n")
    assert _pairs(labels) == [("a.png", 1)]
    assert labels.skipped[0].reason == "cannot be read: File name too long"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 200_000 + "]" * 200_000, "got RecursionError"),
        ('["\\ud800", "b"]', "no word"),
        ('{"0": "a", "0": "b"}', "a key that is there twice"),
        ('{"1": "a", "01": "b"}', "a class number that is there twice"),
        ('{"-1": "a"}', "or below 0"),
    ],
)
def test_class_names_that_nobody_meant(tmp_path, text, message):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(SourceError, match=message):
        ClassNames.from_json(tmp_path / "c.json")
