"""Of whom something may be said, in the plural and in the singular, and forms of verbs, for modelhub.ml.risk.speech."""

from __future__ import annotations

from modelhub.ml.risk.grammar import listed

FORMS = {
    "dvs": listed(
        "hates;despises;detests;loathes;can't stand;resents;abhors;dislikes;is disgusted by;looks down on"
    ),
    "dv_ed": listed(
        "hated;despised;detested;loathed;resented;disliked;abhorred;been disgusted by;looked down on"
    ),
    "hv_ed": listed(
        "killed;beat up;attacked;shot;stabbed;hanged;burned;raped;gassed;lynched;hurt;kicked;punched;wiped out;"
        "tortured"
    ),
    "hv_s": listed(
        "kills;beats up;attacks;shoots;stabs;hangs;burns;hurts;kicks;punches;wipes out;tortures;murders"
    ),
    "lvs": listed(
        "loves;respects;likes;admires;supports;values;trusts;welcomes"
    ),
    "lv_ed": listed(
        "loved;respected;liked;admired;supported;valued;trusted;welcomed"
    ),
    "dn1": listed(
        "lives next door;sings in a band;works in my office;joined the choir;opened a shop;gave a talk;"
        "moved in upstairs;ran a marathon"
    ),
    "more_slur_one": listed(
        "wop;dago;honky;redskin;squaw;coolie;jap;zipperhead;sandnigger;muzzie;heeb;gyppo;pikey;poof;poofter;lesbo;bulldyke;"
        "trannie;tard;spaz;mong;skank;thot;kaffir;golliwog;halfbreed;mudslime;goatfucker;wog;abo;negro;jungle bunny;"
        "porch monkey;cotton picker;camel fucker;rug muncher;pillow biter;carpet muncher;he-she;window licker;vegetable"
    ),
    "more_slur_many": listed(
        "wops;dagos;honkies;redskins;squaws;coolies;japs;zipperheads;sandniggers;muzzies;heebs;gyppos;pikeys;poofs;poofters;"
        "lesbos;bulldykes;trannies;tards;spazzes;mongs;skanks;thots;kaffirs;golliwogs;halfbreeds;mudslimes;goatfuckers;wogs;"
        "abos;negroes;jungle bunnies;porch monkeys;cotton pickers;camel fuckers;rug munchers;pillow biters;carpet munchers"
    ),
}  # fmt: skip
GROUPS = listed(
    "{many}|{many}|{many}|{many}|all {many}|these {many}|those {many}|you {many}|most {many}|all these {many}|"
    "the {many}|{many} like you|so many {many}|all you {many}|{many} in this {pl}|{many} everywhere|"
    "{many} and their friends|young {many}|rich {many}|the {many} I know|us {many}",
    "|",
)  # fmt: skip
GROUP_ONES = listed(
    "every {one}|any {one}|each {one}|another {one}|a {one}|that {one}|this {one}|any {one} I meet|"
    "every {one} I see|the next {one} I meet|you {one}|a {one} like you",
    "|",
)  # fmt: skip
OTHERS = listed(
    "{om}|{om}|{om}|all {om}|these {om}|those {om}|you {om}|{om} like you|most {om}|the {om}|{om} in this {pl}",
    "|",
)  # fmt: skip
OTHER_ONES = listed(
    "every {oo}|my {oo}|that {oo}|this {oo}|a {oo}|another {oo}|you {oo}|the {oo}",
    "|",
)  # fmt: skip
THINGS = listed(
    "{th}s|these {th}s|those {th}s|my {th}s|all {th}s|the {th}s in this {pl}",
    "|",
)  # fmt: skip
THING_ONES = listed(
    "this {th}|my {th}|that {th}|the {th}|every {th}|your {th}",
    "|",
)  # fmt: skip
PERSONS = listed(
    "you two|my {oo} and his friend|Anna and Tom|my neighbours|the people upstairs|you guys|my parents|"
    "her brothers|the boys next door",
    "|",
)  # fmt: skip
PERSON_ONES = listed(
    "you|he|she|Peter|my ex|my brother|that guy|our boss|Anna|the man next door|my mother|your friend",
    "|",
)  # fmt: skip
HATERS = listed(
    "racists|nazis|fascists|bigots|homophobes|sexists|people who hate {many}|those who insult {many}|"
    "men who hit {many}|the ones who attacked {many}|xenophobes|white supremacists",
    "|",
)  # fmt: skip
HATER_ONES = listed(
    "that racist|this bigot|every fascist|any nazi|a homophobe|whoever hates {many}|anyone who beats a {one}|"
    "the man who insulted a {one}",
    "|",
)  # fmt: skip
MANY = {"group": GROUPS, "other": OTHERS, "thing": THINGS, "person": PERSONS, "hater": HATERS}
ONE = {
    "group": GROUP_ONES,
    "other": OTHER_ONES,
    "thing": THING_ONES,
    "person": PERSON_ONES,
    "hater": HATER_ONES,
}
