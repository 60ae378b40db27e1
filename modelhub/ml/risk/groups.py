"""Names of groups of people, as the risk model makes them one: wider than the lists that probes swap."""

from __future__ import annotations

from modelhub.ml.risk import identities
from modelhub.ml.risk.grammar import listed

# After one of these a word for people belongs to the name: "deaf people", "a black man".
PEOPLE = frozenset(
    listed(
        "people person persons folk folks man men woman women guy guys girl girls boy boys kid kids child children lady ladies "
        "community communities individual individuals citizen citizens person's people's lives life",
        " ",
    )
)
# Words with other meanings: they name a group only before a word for people.
ADJECTIVES = frozenset(
    listed(
        "black white brown asian african latino latina hispanic european arab indigenous native aboriginal gay straight lesbian "
        "bisexual trans transgender queer lgbt lgbtq nonbinary disabled deaf blind autistic old older elderly young younger "
        "foreign "
        "religious muslim christian jewish hindu sikh buddhist catholic immigrant migrant refugee handicapped mentally local "
        "able-bodied middle-aged mexican chinese indian nigerian polish american female male",
        " ",
    )
)
_NATIONS = (
    "mexicans chinese indians nigerians poles polish americans african africans asian asians arabs arab turks turkish "
    "pakistani pakistanis romanians syrians syrian somalis somali vietnamese filipinos filipino koreans korean japanese "
    "russians ukrainians germans italians irish cubans haitians ethiopians iraqis iranians afghans albanians kurds "
    "palestinians israelis latinos latinas latino latina hispanics hispanic mexican nigerian gypsies roma romani europeans"
)
_OTHERS = (
    "women woman females girls girl ladies men males muslims muslim islam muslima jews jew jewish judaism christians christian "
    "christianity catholics catholic protestants hindus hindu hinduism sikhs sikh buddhists buddhist buddhism atheists atheist "
    "gays lesbians lesbian bisexuals bisexual transgender transgenders transsexual transsexuals trans homosexuals homosexual "
    "queers queer lgbt lgbtq heterosexuals blacks whites african-americans immigrants immigrant migrants migrant refugees "
    "refugee foreigners foreigner asylum-seekers expats teenagers teenager seniors pensioners pensioner disabled "
    "handicapped wheelchair-users autistics autistic deaf blind locals natives"
)
_PHRASES = (
    "african american", "african americans", "asylum seeker", "asylum seekers", "person with a disability",
    "people with disabilities", "people with a disability", "wheelchair user", "wheelchair users",
    "person of color",
    "people of color", "people of colour", "person of colour", "trans woman", "trans women", "trans man",
    "trans men",
    "gay man", "gay men", "gay woman", "gay women", "mentally ill people", "people in wheelchairs",
    "able bodied people",
    "person in a wheelchair", "older adults", "people over sixty", "non binary people", "women of color",
)  # fmt: skip


def _terms() -> frozenset[str]:
    spoken = {word for rows in identities.ENGLISH.values() for row in rows for word in row}
    # pronouns, kin and titles say who somebody is, not which group is spoken of
    people = {word for word in spoken if word.split()[-1] in PEOPLE and " " in word}
    words = {word for text in (_NATIONS, _OTHERS) for word in text.split()}
    hyphens = {word.replace("-", " ") for word in words | people}
    return frozenset(words | people | hyphens | set(_PHRASES))


TERMS = _terms()
TERMS_LONGEST = max(len(term.split()) for term in TERMS)
_MORE_CHINESE = (
    "女生", "男生", "女的", "男的", "女权", "黑人们", "白人们", "黄种人", "亚裔", "非裔", "华裔", "拉丁裔",
    "犹太", "回民", "维族", "新疆人",
    "少数民族", "难民", "外来务工人员", "农民工", "同性恋者", "双性恋者", "变性人", "男同", "女同", "聋哑人",
    "精神病患者", "老人", "老年人", "中老年人",
    "山东人", "河北人", "安徽人", "江西人", "福建人", "湖南人", "重庆人", "天津人", "浙江人", "江苏人",
    "陕西人", "山西人", "贵州人", "云南人", "海南人",
    "广西人", "甘肃人", "台湾人", "香港人", "深圳人", "潮汕人", "温州人", "北方人", "南方人", "外地人",
    "本地人", "印度人", "非洲人", "美国人", "日本人",
    "韩国人", "朝鲜人", "越南人", "俄罗斯人", "泰国人", "法国人", "英国人", "德国人", "中国人", "犹太人",
    "基督徒", "穆斯林", "佛教徒", "女性", "男性",
    "女人", "男人", "女孩", "男孩", "妇女", "外国人", "老外", "移民", "残疾人", "残障人士", "盲人", "聋人",
    "自闭症患者", "跨性别者", "年轻人",
)  # fmt: skip


def _chinese() -> dict[str, frozenset[str]]:
    listed = {word for rows in identities.CHINESE.values() for row in rows for word in row if len(word) > 1}
    listed |= set(_MORE_CHINESE)
    return {first: frozenset(word for word in listed if word[0] == first) for first in {w[0] for w in listed}}


CHINESE = _chinese()
CHINESE_LONGEST = max(len(word) for words in CHINESE.values() for word in words)
