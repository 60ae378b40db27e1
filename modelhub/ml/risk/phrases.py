"""Turns of speech for modelhub.ml.risk.grammar, by what they do in a sentence; `|` parts them."""

from __future__ import annotations

_TEXT = {
    "openers": (
        "Honestly, |Let's face it, |To be honest, |Trust me, |I mean, |You know, |Seriously, |Listen: "
        "|As I said, |By the way, |In my opinion, |I believe |I think |I'm convinced that |I really feel that "
        "|It's obvious that |The truth is that |We all know that |My personal view is that "
        "|Everyone can see that |No offence but |Sorry, but |Fact: |Wow, |OK, |lol |Without doubt "
        "|You may not agree, but "
    ),
    "tails": (
        " if you ask me| and everyone knows it| every single time| without exception|, period| these days"
        "| in general| by nature| as always| in this {place}| here| where I live|, believe me|, all of them"
        "|, full stop| to me|, aren't they|, isn't it| and nothing else| for sure| at the end of the day"
        "| from birth| lol| tbh| all day long|, that's how it is"
    ),
    "before": (
        "I read the news today.|We went to the market.|This is about {np}.|There were {np} at the event."
        "|I just saw {np} on tv.|You ask about {np}?|Look at {np}.|My day was long.|I was on the bus with {np}."
        "|So here is my opinion on {np}.|Let me tell you about {np}.|They are {np}."
    ),
    "after": (
        "That's all I have to say.|What do you think?|I said it.|Thanks for reading.|Good night.|I've had enough."
        "|No more words needed.|See you tomorrow."
    ),
    "those_who": "People who|Anyone who|Those who|Whoever|Somebody who|Men who|Posters who|Everyone who",
    "condemn": (
        "'{S}' is {judged}|saying \"{S}\" is {judged}|\"{S}\" is {judged}|\"{S}\" is {judged} and you know it"
        "|if you say \"{S}\", you are the problem|whoever posts \"{S}\" gets banned|stop telling me \"{S}\""
        "|he lost his job for shouting \"{S}\"|my teacher said \"{S}\" and was suspended"
        "|people who tell me \"{S}\" will be blocked|I got a letter that said \"{S}\" and cried"
        "|nobody should ever have to read \"{S}\"|she was told \"{S}\" and reported it to the police"
        "|how dare you say \"{S}\"|\"{S}\", he yelled. We asked him to leave|only a bigot would say \"{S}\""
        "|writing \"{S}\" under a photo is {judged}|your comment \"{S}\" was removed"
        "|it is {judged} to claim \"{S}\"|I disagree with the statement \"{S}\""
        "|we heard {speaker} say \"{S}\" and walked out"
    ),
    "condemn_told": (
        "claiming that {s} is {judged}|it's {judged} to think that {s}|you think that {s}, but that is {judged}"
        "|your belief that {s} is {judged}|nobody may say that {s}|he was sentenced for saying that {s}"
        "|I can't stand those who say that {s}|the idea that {s} is {judged}|{s}, you say? That is {judged}"
        "|you might think that {s}, luckily nobody listens to you|to believe that {s} you must be a fool"
        "|whoever believes that {s} is {judged}"
    ),
    "agree": (
        "\"{S}\", and he is right|{speaker} said \"{S}\" and I agree|like they say: \"{S}\"|I always say \"{S}\""
        "|finally somebody says it: \"{S}\"|\"{S}\", says my dad, and it is true|I told her \"{S}\" and meant it"
    ),
    "asked": (
        "isn't it true that |is it just me or |do you also think that |can we agree that |did you know that "
        "|isn't it clear that |why does nobody say that |am I wrong or |who else thinks that "
        "|how can anyone doubt that |when will you see that "
    ),
    "groups": (
        "{many}|{many}|{many}|all {many}|these {many}|those {many}|most {many}|{many} like you|you {many}"
        "|the {many}|{many} in this {place}|our {many}|so many {many}|{many} and their kind|young {many}"
        "|{many} everywhere|some {many}|{many} who live here|you and all the other {many}|{many} from abroad"
        "|many {many}"
    ),
    "others": "{o}|all {o}|these {o}|{o} like you|those {o}|most {o}|you {o}",
    "things": "{t}s|these {t}s|all {t}s|those {t}s|my {t}s|such {t}s",
    "persons": "you|you two|they|my {p}s|he and she|you lot",
    "group": (
        "a {one}|that {one}|this {one}|every {one}|any {one}|a {one} like you|some {one}|the {one}|each {one}"
        "|another {one}"
    ),
    "other": "a {p}|my {p}|that {p}|this {p}|every {p}|the {p}",
    "thing": "a {t}|my {t}|that {t}|this {t}|the {t}|every {t}",
    "person": "he|she|my brother|Peter|somebody|my ex|that guy|Anna|our boss",
    "no_one": "no {x}|not one {x}|hardly any {x}|no single {x}",
    "one_is_not": "is not|is never|was never|could never be|cannot be",
    "one_is": "is|is really|must be|seems|will always be|was",
    "are_not": (
        "are not|aren't|are never|were never|will never be|cannot be|are far from|are by no means|have never been"
        "|don't seem"
    ),
    "are": (
        "are|are|are really|are all|are just|have always been|will always be|must be|seem|truly are|are so"
        "|are too|can be so|look"
    ),
    "very": "so|very|utterly|really|pretty|incredibly|completely|damn|extremely",
    "one_is_no": "is not|isn't|is never|is hardly",
    "one_is_a": "is|is just|is such|is nothing but|is really",
    "are_no": "are not|are no|were never|are hardly|are anything but",
    "are_such": (
        "are|are nothing but|are just|are all|are a bunch of|are such|are a pack of|are merely|have always been"
        "|are no better than|are real"
    ),
    "who": "I|I|we|I|my friends|normal people|we all|many of us",
    "not_saying": "I am not saying that|it is not true that|nobody here would say that|I never said that",
    "do_not": "don't|do not|never|would never|could never|can't|will not|have no reason to",
    "do": "really |truly |absolutely |just |simply |completely |still ",
    "stir": (
        "make me sick|make me furious|fill me with disgust|fill me with hatred|drive me mad with rage"
        "|make my skin crawl|turn my stomach|disgust me|repel me|anger me|get on my nerves|make me want to scream"
    ),
    "please": (
        "make me happy|make my day|fill me with joy|inspire me|make me smile|give me hope|brighten this place"
        "|make me proud"
    ),
    "no_harm": (
        "nobody should|I would never|we must not|you can't just|don't|it is a crime to|no one has the right to"
        "|we'll stop all who|it would be terrible to|never"
    ),
    "do_harm": (
        "someone should|I will|we should|let's|I want to|we must|I'd love to|go and|they need to|it's time to"
        "|I'm going to|we are going to|help me|please"
    ),
    "not_be_harmed": (
        "should never be|must not be|don't deserve to be|should not be|do not have to be|must never again be"
        "|ought not to be|can't simply be"
    ),
    "be_harmed": (
        "should be|must be|deserve to be|need to be|ought to be|have to be|should all be|had better be|will be"
        "|will soon be"
    ),
    "no_good": (
        "don't deserve|do not deserve|deserve no|have no right to|should not get|will never deserve|can't expect"
    ),
    "good": "deserve|have a right to|should get|have earned|need|all deserve",
    "kept_out": "should not be|must not be|should never be|can't be|ought not to be",
    "let_in": "should be|must be|ought to be|will be|deserve to be",
    "thing_does": (
        "is on the table|arrived yesterday|costs ten euros|was repaired|is new|needs a battery|stands in the hall"
    ),
    "count": "two |some |a few |three |several |the ||",
    "does": (
        "talked about|like|asked about|bought|study|are interested in|know a lot about|need|were looking for"
        "|wrote about|told us about"
    ),
    "heard": "||I heard that |last week |yesterday |in the end |we learnt that ",
    "verdict": (
        "should be ashamed|need help|are wrong|will be banned|broke the law|have to answer for it"
        "|should not be in office|make me angry|have no place here|should look in the mirror|deserve no applause"
    ),
}  # fmt: skip
PHRASES: dict[str, tuple[str, ...]] = {name: tuple(text.split("|")) for name, text in _TEXT.items()}
