"""What the bundle has words for: digits, things and animals, with their names in English and Chinese."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Concept:
    """One label: its names in English (the first is the label) and in Chinese."""

    english: tuple[str, ...]
    chinese: tuple[str, ...]

    @property
    def label(self) -> str:
        """The name that manifests and reports use."""
        return self.english[0]


DIGITS = (
    Concept(("zero", "0"), ("零", "〇")),
    Concept(("one", "1"), ("一", "壹")),
    Concept(("two", "2"), ("二", "两")),
    Concept(("three", "3"), ("三",)),
    Concept(("four", "4"), ("四",)),
    Concept(("five", "5"), ("五",)),
    Concept(("six", "6"), ("六",)),
    Concept(("seven", "7"), ("七",)),
    Concept(("eight", "8"), ("八",)),
    Concept(("nine", "9"), ("九",)),
)
THINGS = (
    Concept(("airplane", "plane", "aeroplane", "aircraft", "jet"), ("飞机", "客机")),
    Concept(("automobile", "car", "motor car", "auto"), ("汽车", "轿车", "小汽车")),
    Concept(("bird", "birdie", "songbird"), ("鸟", "小鸟")),
    Concept(("cat", "kitten", "kitty"), ("猫", "小猫")),
    Concept(("deer", "stag", "doe"), ("鹿", "小鹿")),
    Concept(("dog", "puppy", "hound", "doggy"), ("狗", "小狗")),
    Concept(("frog", "toad"), ("青蛙", "蛙")),
    Concept(("horse", "pony"), ("马", "马匹")),
    Concept(("ship", "boat", "vessel"), ("船", "轮船")),
    Concept(("truck", "lorry"), ("卡车", "货车")),
)
MORE_ANIMALS = (
    Concept(("cow", "cattle", "bull"), ("牛", "奶牛")),
    Concept(("lion", "lioness"), ("狮子", "狮")),
    Concept(("sheep", "lamb"), ("羊", "绵羊")),
    Concept(("chicken", "hen", "rooster"), ("鸡", "公鸡")),
    Concept(("donkey", "ass"), ("驴", "驴子")),
    Concept(("monkey", "ape"), ("猴子", "猴")),
)
CONCEPTS = (*DIGITS, *THINGS, *MORE_ANIMALS)
LABELS = tuple(concept.label for concept in CONCEPTS)
PHOTOGRAPH_LABELS = tuple(concept.label for concept in THINGS)
ANIMAL_LABELS = ("dog", "cat", "bird", "frog", "cow", "lion", "sheep", "chicken", "donkey", "monkey")

# Words for what no label is, so that it can be learned to say of them: none of these.
UNNAMED = (
    "house", "tree", "table", "chair", "window", "door", "river", "mountain", "cloud", "rain", "snow", "sun", "moon",
    "flower", "grass", "apple", "banana", "bread", "cheese", "coffee", "tea", "water", "milk", "sugar", "salt",
    "kettle", "spoon", "knife", "plate", "bottle", "book", "paper", "pencil", "letter", "newspaper", "computer",
    "keyboard", "telephone", "television", "camera", "clock", "lamp", "candle", "mirror", "pillow", "blanket",
    "jacket", "shirt", "shoe", "hat", "glove", "umbrella", "bicycle", "train", "bus", "road", "bridge", "tower",
    "castle", "church", "school", "hospital", "garden", "forest", "desert", "island", "beach", "ocean", "stone",
    "gold", "iron", "glass", "wood", "money", "market", "doctor", "teacher", "child", "woman", "man", "king", "queen",
    "friend", "family", "hand", "foot", "head", "eye", "nose", "mouth", "heart", "music", "song", "guitar", "piano",
    "drum", "violin", "dance", "game", "football", "tennis", "chess", "elephant", "tiger", "snake", "fish", "spider",
    "bee", "rabbit", "mouse", "bear", "hello", "goodbye", "please", "yes", "no", "maybe", "morning", "evening",
    "yesterday", "winter", "summer", "history", "science", "law", "tax report", "quarterly revenue", "weather forecast",
    "train timetable", "recipe for soup", "theory of music", "software update", "birthday party", "to be or not to be",
    "how are you", "turn left at the corner", "the meeting was moved to friday", "stock prices fell",
    "please close the window", "it rained all day", "she wrote a long letter", "an unpaid invoice",
)  # fmt: skip
UNNAMED_ZH = (
    "房子", "树", "桌子", "椅子", "窗户", "河", "山", "云", "雨", "太阳", "月亮", "苹果", "面包", "咖啡", "茶", "水",
    "书", "报纸", "电脑", "电话", "电视", "灯", "衣服", "鞋子", "自行车", "火车", "公路", "桥", "学校", "医院", "花园",
    "森林", "海洋", "金钱", "医生", "老师", "孩子", "朋友", "音乐", "钢琴", "大象", "老虎", "蛇", "鱼", "你好", "再见",
    "早上", "昨天", "冬天", "历史", "科学", "天气预报", "今天下雨了", "请关上窗户",
)  # fmt: skip

_ANY = ("{}", "{}", "{}", "a photo of {}", "a photo of a {}", "a picture of {}", "an image of a {}", "this is {}",
        "this is a {}", "it is a {}", "a {}", "the {}", "what is this? {}")  # fmt: skip
_DIGIT = ("the digit {}", "digit {}", "the number {}", "number {}", "a handwritten {}", "the handwritten digit {}",
          "a drawing of the digit {}", "someone says {}", "the spoken word {}", "a voice saying {}", "the word {}",
          "a recording of {}")  # fmt: skip
_THING = ("a small photo of a {}", "a blurry photo of a {}", "a close-up photo of a {}", "a photo of the {}", "one {}",
          "an {}", "some {}s", "{}s")  # fmt: skip
_ANIMAL = ("the sound of a {}", "a {} calling", "the call of a {}", "a {} makes a noise", "I hear a {}",
           "the voice of a {}", "a recording of a {}", "{} sound", "{} sounds")  # fmt: skip
_CALLS = {
    "dog": ("a dog barking", "barking", "woof", "a dog barks"),
    "cat": ("a cat meowing", "meowing", "meow", "a cat meows"),
    "bird": ("a bird singing", "birdsong", "chirping", "a bird sings", "tweet"),
    "frog": ("a frog croaking", "croaking", "a frog croaks", "ribbit"),
    "cow": ("a cow mooing", "moo", "mooing", "a cow moos"),
    "lion": ("a lion roaring", "roaring", "roar", "a lion roars"),
    "sheep": ("a sheep bleating", "bleating", "baa", "a sheep bleats"),
    "chicken": ("a rooster crowing", "a chicken clucking", "clucking", "cock-a-doodle-doo"),
    "donkey": ("a donkey braying", "braying", "hee-haw", "a donkey brays"),
    "monkey": ("a monkey screeching", "a monkey chattering", "screeching"),
}
_CHINESE_ANY = ("{}", "{}", "{}", "一张{}的照片", "{}的图片", "这是{}", "一个{}", "{}的照片")
_CHINESE_DIGIT = ("数字{}", "数字{}", "手写的{}", "手写数字{}", "说{}", "读作{}")
_CHINESE_ANIMAL = ("{}的叫声", "{}叫", "{}的声音", "一只{}", "听到{}")
# Left out of training, to measure texts that were not seen.
UNSEEN_TEMPLATES = ("{}?", "look, {}", "could this be {}", "my favourite {}", "they said {}")
_CHINESE_SHARE = 0.25  # of the texts; a guess


# What a name may stand among; nothing of it is a name, and nothing of UNSEEN_TEMPLATES is here.
_FILLERS = (
    "here", "there", "was", "see", "saw", "can", "you", "we", "he", "and", "or", "of", "in", "on", "with", "our",
    "your", "that", "these", "old", "new", "good", "great", "real", "funny", "today", "now", "again", "really",
    "quite", "any", "where", "who", "show", "find", "me", "bright", "outside", "near", "from", "about", "just",
    "only", "another", "every", "not", "think", "want", "must", "have", "has", "like", "love", "heard", "seen",
    "nice", "very", "for",
)  # fmt: skip
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def among_words(text: str, rng: np.random.Generator) -> str:
    """Returns an English text with up to two words before and after it, some made up; a Chinese one as it is."""
    if not text.isascii():
        return text
    before, after = ([_filler(rng) for _ in range(int(rng.integers(3)))] for _ in range(2))
    return " ".join([*before, text, *after])


def _filler(rng: np.random.Generator) -> str:
    if rng.random() < 0.7:
        return _pick(_FILLERS, rng)
    return "".join(_ALPHABET[int(rng.integers(26))] for _ in range(int(rng.integers(2, 8))))


def name_concept(label: int, rng: np.random.Generator) -> str:
    """Returns one of the many texts that name a label, English or Chinese."""
    concept = CONCEPTS[label]
    if rng.random() < _CHINESE_SHARE:
        return _pick(_chinese_templates(label), rng).format(_pick(concept.chinese, rng))
    calls = _CALLS.get(concept.label, ())
    if calls and rng.random() < 0.1:
        return _pick(calls, rng)
    # The label itself is what users type most: half of the time it is chosen.
    name = concept.label if rng.random() < 0.5 else _pick(concept.english, rng)
    return _pick(_english_templates(label), rng).format(name)


def name_nothing(english: Sequence[str], chinese: Sequence[str], rng: np.random.Generator) -> str:
    """Returns a text of a kind that names a label, with one of these words in the label's place."""
    if rng.random() < _CHINESE_SHARE:
        return _pick(_CHINESE_ANY + _CHINESE_ANIMAL + _CHINESE_DIGIT, rng).format(_pick(chinese, rng))
    return _pick(_ANY + _THING + _ANIMAL + _DIGIT, rng).format(_pick(english, rng))


def all_names(label: int) -> list[str]:
    """Returns every text that names a label, once each."""
    concept = CONCEPTS[label]
    english = [t.format(name) for t in set(_english_templates(label)) for name in concept.english]
    chinese = [t.format(name) for t in set(_chinese_templates(label)) for name in concept.chinese]
    return sorted({*english, *chinese, *_CALLS.get(concept.label, ())})


def is_digit(label: int) -> bool:
    """Returns whether a label is a digit."""
    return label < len(DIGITS)


def _english_templates(label: int) -> tuple[str, ...]:
    if is_digit(label):
        return _ANY + _DIGIT
    return _ANY + _THING + (_ANIMAL if CONCEPTS[label].label in ANIMAL_LABELS else ())


def _chinese_templates(label: int) -> tuple[str, ...]:
    if is_digit(label):
        return _CHINESE_ANY + _CHINESE_DIGIT
    return _CHINESE_ANY + (_CHINESE_ANIMAL if CONCEPTS[label].label in ANIMAL_LABELS else ())


def _pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
