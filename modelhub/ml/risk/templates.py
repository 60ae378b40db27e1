"""Sentences of our own about groups of people, harmless and hateful, for every group alike.

A classifier fitted on tweets learns that the *name* of a group is offensive, since there it mostly stands in
insults. These rows name each group equally often in both classes, so that the name alone says nothing and the
rest of the sentence must. They were written for this purpose; no test suite's sentence is among them. Hateful
rows are training data: treat them as such.
"""

from __future__ import annotations

from collections.abc import Iterator

GROUPS_EN: tuple[tuple[str, str], ...] = (
    ("women", "woman"), ("men", "man"), ("girls", "girl"), ("black people", "black person"),
    ("Black folks", "Black man"), ("white people", "white person"), ("Asians", "Asian woman"),
    ("Latinos", "Latino man"), ("Africans", "African woman"), ("Mexicans", "Mexican man"),
    ("Muslims", "Muslim"), ("Jews", "Jewish person"), ("Christians", "Christian"), ("Hindus", "Hindu"),
    ("gay people", "gay person"), ("gays", "gay man"), ("lesbians", "lesbian"), ("trans people", "trans person"),
    ("trans women", "trans woman"), ("bisexual people", "bisexual person"), ("queer people", "queer person"),
    ("disabled people", "disabled person"), ("deaf people", "deaf person"), ("blind people", "blind man"),
    ("people with disabilities", "person with a disability"), ("autistic people", "autistic girl"),
    ("immigrants", "immigrant"), ("migrants", "migrant"), ("refugees", "refugee"), ("foreigners", "foreigner"),
    ("old people", "old person"), ("teenagers", "teenager"),
)  # fmt: skip
HARMLESS_EN: tuple[str, ...] = (
    "My neighbour is a {one} and runs the bakery on the corner.",
    "The survey asked two hundred {many} about their commute.",
    "Our team hired a {one} last spring and the project is going well.",
    "A {one} helped me carry my bags at the station.",
    "The museum opens a show on the history of {many} next month.",
    "I had lunch with a few {many} from the office.",
    "{many} make up about a tenth of the members.",
    "As a {one}, I want to open a savings account.",
    "I am a {one} and I need help with my order.",
    "We admire the {many} who built this school.",
    "Congratulations to the {many} who won the prize!",
    "It is wonderful to see more {many} in science.",
    "{many} deserve the same pay and the same respect.",
    "I'm so proud of my daughter, a {one} who never gives up.",
    "Nobody should be refused a flat for being a {one}.",
    "The law protects {many} from discrimination.",
    "Insulting {many} is wrong and we will report it.",
    "He said {many} are stupid and was rightly suspended.",
    "Posting 'get rid of {many}' breaks our rules.",
    "It hurts when people call {many} filthy; please stop.",
    "I do not think {many} are to blame for any of this.",
    "No {one} should ever be told they are worth less.",
    "Stop spreading lies about {many}.",
    "Saying that all {many} are criminals is simply false.",
    "The clinic offers a free check for {many} on Mondays.",
    "Two {many} sat next to us on the train and told jokes.",
    "Being a {one} is nothing to be ashamed of.",
    "I love my friends, {many} and everyone else.",
    "What a great film, with a {one} in the leading part.",
    "There are {many} in every town of this country.",
    "Kind, funny and clever: that's how I know {many}.",
    "Could you recommend a book written by a {one}?",
    "{many} aren't the problem here, bad planning is.",
    "I never said that I dislike {many}.",
)  # fmt: skip
HATEFUL_EN: tuple[str, ...] = (
    "{many} ruin every place they come to.",
    "Keep {many} out of our town.",
    "I can't bear the sight of {many}.",
    "All {many} are liars and thieves.",
    "{many} are filthy animals.",
    "Someone ought to hurt those {many}.",
    "We would be better off if {many} were all dead.",
    "Never trust a {one}, they are born stupid.",
    "{many} don't deserve any rights.",
    "Get out of here, you disgusting {one}.",
    "Every {one} I meet makes me sick.",
    "{many} are a disease on this country.",
    "I hope that all {many} die.",
    "Burn their houses down, {many} have no place here.",
    "{many} are too dumb to hold a job.",
    "You are just a worthless {one}.",
    "Why do we even let {many} vote, they are inferior.",
    "{many} should be locked away for good.",
    "I hate {many} so much.",
    "I loathe every {one} alive.",
    "A {one} is never as good as normal people.",
    "Fuck all {many}, they are scum.",
    "If I see a {one} I will beat them up.",
    "{many} are vermin, plain and simple.",
    "Nobody wants {many} around, they are vile.",
    "{many} deserve to be beaten.",
    "It is a fact that {many} are less intelligent.",
    "Don't pretend otherwise, {many} are trash.",
    "These bloody {many} disgust me.",
    "The world has no use for {many}.",
    "I have nothing but scorn for {many}.",
    "Shoot the {many}.",
    "{many} are evil and must be stopped.",
    "What a horrible thing it is to be near a {one}, they stink.",
)  # fmt: skip
GROUPS_ZH: tuple[str, ...] = (
    "女人", "男人", "女生", "黑人", "白人", "亚洲人", "非洲人", "日本人", "韩国人", "美国人", "河南人", "东北人",
    "上海人", "广东人", "外地人", "移民", "穆斯林", "犹太人", "基督徒", "同性恋", "跨性别者", "残疾人", "盲人",
    "老年人", "少数民族", "难民",
)  # fmt: skip
HARMLESS_ZH: tuple[str, ...] = (
    "我的邻居是{many}，在街角开面包店。", "我们公司去年招了几位{many}，合作很愉快。", "这次调查访问了两百名{many}。",
    "有位{many}在车站帮我提行李。", "{many}应该得到同样的尊重和报酬。", "我很高兴看到越来越多的{many}从事科研。",
    "法律保护{many}不受歧视。", "辱骂{many}是不对的。", "说{many}都是骗子，这是偏见。", "请不要再散布关于{many}的谣言。",
    "我有很多{many}朋友，他们都很善良。", "作为{many}，我想咨询开户的事。", "博物馆下个月有{many}历史的展览。",
    "祝贺获奖的{many}！", "{many}不是问题所在。", "没有人应该因为是{many}而被拒绝租房。",
)  # fmt: skip
HATEFUL_ZH: tuple[str, ...] = (
    "{many}都是骗子和小偷。", "{many}滚出我们的城市。", "我看见{many}就恶心。", "{many}都是畜生。", "{many}天生就笨。",
    "{many}都该去死。", "{many}不配有任何权利。", "真想打死那些{many}。", "{many}是社会的毒瘤。", "{many}又脏又臭。",
    "最讨厌{many}，没一个好东西。", "{many}就是垃圾。", "千万别相信{many}，全是坏人。", "{many}就是低人一等。",
    "{many}素质太差，恶心死了。", "把{many}都关起来算了。",
)  # fmt: skip


def rows() -> Iterator[tuple[str, int]]:
    """Every template with every group: (sentence, 1 for hateful). Each group is in both classes alike."""
    for sentences, label in ((HARMLESS_EN, 0), (HATEFUL_EN, 1)):
        for sentence in sentences:
            for many, one in GROUPS_EN:
                filled = sentence.format(many=many, one=one)
                yield filled[:1].upper() + filled[1:], label
    for sentences, label in ((HARMLESS_ZH, 0), (HATEFUL_ZH, 1)):
        for sentence in sentences:
            for many in GROUPS_ZH:
                yield sentence.format(many=many), label
