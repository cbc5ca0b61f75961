"""DreamBench's layout with two subjects, of the example photographs."""

import PIL.Image

from tests.pictures import PHOTOGRAPHS

TEXT = """Classes

subject_name,class
teapot,teapot
dog,dog

Prompts

prompt_list = [
'a {0} {1} in the jungle'.format(unique_token, class_token),
'a red {0} {1}'.format(unique_token, class_token)
]

prompt_list = [
'a {0} {1} wearing a red hat'.format(unique_token, class_token)
]
"""


def write_dreambench(folder, photographs=3, place="dataset"):
    """Small photographs of each, the same one turned a little."""
    for number, name in enumerate(("teapot", "dog")):
        (folder / place / name).mkdir(parents=True)
        for i in range(photographs):
            picture = PIL.Image.open(PHOTOGRAPHS[number]).convert("RGB").resize((48, 40)).rotate(5 * i)
            picture.save(folder / place / name / f"{i:02}.jpg")
    (folder / "prompts_and_classes.txt").write_text(TEXT)
    return folder
