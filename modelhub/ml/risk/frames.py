"""Frames of our own sentences, by kind: what is said about a group of people, and what only sounds like it.

`{many}` and `{one}` are a group's names; other slots are lists of modelhub.ml.risk.lexicon. Harmless frames use the harmful
words as well: denied, quoted and condemned, said of things, of trades, or of nobody, so that a word alone decides nothing.
No test suite's sentence is among them.
"""

from __future__ import annotations

from modelhub.ml.risk.grammar import listed

HATE_EN: tuple[str, ...] = (
    "{many} are {vile_many}.", "All {many} are {vile_adj}.", "{many} are {vile_adj} and {vile_adj}.",
    "Every {one} is a {vile_one}.",
    "These {many} are {vile_adj} {vile_many}.", "{many} are nothing more than {vile_many}.",
    "What a {vile_adj} {one}.",
    "You {many} are {vile_adj}.", "You {vile_adj} {one}!", "I {hate_verb} {many}.", "I {hate_verb} every {one}.",
    "We {hate_verb} {many} and always will.", "My friends and I {hate_verb} those {many}.",
    "Honestly, I {hate_verb} you {many}.",
    "Someone should {harm_verb} {many}.", "I want to {harm_verb} a {one}.",
    "I will {harm_verb} every {one} I find.",
    "We should {harm_verb} all {many}.", "Let's {harm_verb} the {many}.",
    "If I meet a {one}, I'll {harm_verb} them.",
    "{many} should be {harmed}.", "{many} deserve to be {harmed}.", "All {many} ought to be {harmed}.",
    "I hope every {one} gets {harmed}.", "I wish {many} were {harmed}.",
    "The {many} must be {harmed}, the sooner the better.",
    "We are going to {harm_verb} you {many} one by one.", "You {one}, soon you will be {harmed}.",
    "{many} had better be {harmed}.",
    "It would be best for this {place} if {many} were {harmed}.", "This {place} would be cleaner without {many}.",
    "{many} should not be {excluded}.", "No {one} should be {excluded}.", "{many} must never be {excluded}.",
    "Why are {many} even {excluded}?", "{many} don't deserve {good_thing}.",
    "A {one} has no claim to {good_thing}.",
    "No {one} is {good_adj}.", "{many} are never {good_adj}.", "{many} will never be {good_adj}.",
    "You can't call a {one} {good_adj}.",
    "There is no room in this {place} for {many}.", "{many} have no business in our {place}.",
    "Go back where you came from, {many}.",
    "{many} belong in a cage.", "{many} belong in prison.", "A {one} belongs in the bin.",
    "{many} ruin every {place}.",
    "{many} are a {vile_one} to this {place}.", "{many} are the {vile_one} of our {place}.",
    "{many} are destroying our {place}.",
    "Isn't it clear that {many} are {vile_adj}?", "Why are {many} so {vile_adj}?",
    "Who would not {hate_verb} {many}?",
    "Am I the only one who thinks {many} are {vile_adj}?", "When will somebody {harm_verb} these {many}?",
    "In my view {many} are {vile_many}.", "I honestly believe that {many} are {vile_adj}.",
    "If you ask me, {many} should be {harmed}.",
    "I'm sure that {many} are {vile_adj} by birth.", "It's a plain fact that {many} are {vile_adj}.",
    "Everybody knows {many} are {vile_many}.",
    "I met some {many} today. They are such {vile_many}.", "They're {many}. No wonder they are {vile_adj}.",
    "Look at those {many}. I {hate_verb} them.", "This is about {many}. They should be {harmed}.",
    "{many}? I would {harm_verb} them all.",
    "They are {vile_adj}, as {many} always are.", "Of course he is {vile_adj}, he is a {one}.",
    "She's a {one}, so expect a {vile_one}.",
    "{many} may look {good_adj}, but they are {vile_many}.",
    "I'd be fine with {many} if they weren't so {vile_adj}.",
    "{many}, who are all {vile_many}, live off us.", "It's always the {many} who are {vile_adj}.",
    "{many} are {swear_adj} {vile_many}.", "{swear}, {many} are so {vile_adj}.",
    "Those {swear_adj} {many} make me sick.",
    "{swear_adj} {many}.", "Fuck {many}.", "Fuck all these {vile_adj} {many}.", "{many} can go to hell.",
    "Screw the {many}, they're {vile_many}.",
    "{many} piss me off every single day.", "Typical {one}, always a {vile_one}.",
    "{many} make me want to throw up.",
    "I'd rather die than sit beside a {one}.", "I would never touch anything a {one} has touched.",
    "Hiring a {one} was our worst idea ever.",
    "Sharing a flat with a {one} is a nightmare nobody deserves.", "I'd be ashamed to have a {one} in the family.",
    "The less I see of {many}, the better.", "A good {one} is a dead {one}.", "Nobody will ever love a {one}.",
    "{many} are not real human beings.", "{many} are below us.", "{many} think they are our equals. They are not.",
    "Anyone who marries a {one} should be {harmed}.", "{many} who think they are {good_adj} make me furious.",
    "They should all be {harmed}, those {many}.", "Keep your children away from {many}.",
    "{many} lives are worth nothing.",
    "{many} lives don't matter.", "Being a {one} is a {vile_one} on our {place}.",
    "That {one} is a {vile_adj} {vile_one}.",
    "You're just a {vile_adj} {one} to me.", "Stay away from this {place}, {vile_adj} {many}.",
    "Death to {many}.", "Down with {many}.",
    "{many} have the brain of {vile_many}.", "Only {vile_many} become {many}.",
    "You are nothing but a {vile_adj} {vile_one}, like all {many}.",
    "There is nothing {good_adj} about a {one}.", "It is in the nature of {many} to be {vile_adj}.",
    "Imagine being so {vile_adj}: {many}.",
    "{many} are trying to take over, {harm_verb} them.", "Deport all {many} now.",
    "The best thing about {many} is when they are {harmed}.",
)  # fmt: skip
SLUR_EN: tuple[str, ...] = (
    "{slur_many} are {vile_adj}.", "You {slur_one}!", "You are just a {slur_one} to me.",
    "They are nothing but {slur_many}.", "Typical {slur_one}.", "What a {slur_one}.",
    "I {hate_verb} {slur_many}.",
    "All {slur_many} should be {harmed}.", "Go home, {slur_one}.", "This {place} is full of {slur_many}.",
    "Look at that {vile_adj} {slur_one}.", "Too many {slur_many} around here.", "Those {slur_many} again.",
    "Someone should {harm_verb} the {slur_many}.", "Only a {slur_one} would say that.",
    "A {slur_one} like you is {vile_adj}.", "Shut up, {slur_one}.", "My boss is a {slur_one}.",
    "That's what a {slur_one} does.", "Damn {slur_many}.",
)  # fmt: skip
SLUR_QUOTED_EN: tuple[str, ...] = (
    'Being called a "{slur_one}" hurt me.', "Do not use the word {slur_one}.",
    'He said "{slur_one}" to me and I reported it.', "Whoever calls people {slur_many} is {judged}.",
    'Calling somebody a {slur_one} is {judged}.',
    'The word "{slur_one}" is {judged}.', 'If you say "{slur_one}" again, you will be banned.',
    'They wrote "{slur_many} out" on our door. The police came.',
)  # fmt: skip
HARMLESS_NAMED_EN: tuple[str, ...] = (
    "{many} {do_neutral}.", "Two {many} {do_neutral}.", "Some {many} I know {do_neutral}.",
    "The {many} {do_neutral} yesterday.",
    "A {one} is our new director.", "My sister is a {one}.", "My best friend is a {one}.",
    "We live with three {many}.", "I am a {one}.",
    "There is a {one} waiting outside.", "That {one} over there is my teacher.",
    "A group of {many} {do_neutral}.", "Are there any {many} in the class?",
    "The report counts {many} and their households.", "I interviewed four {many} for the article.",
    "She wrote a thesis about {many}.",
    "{many} are {good_adj}.", "All {many} are {good_adj} in their way.", "What a {good_adj} {one}!",
    "You {many} are {good_adj}.",
    "I {like_verb} {many}.", "We {like_verb} every {one} in this {place}.", "{many} are {good_many}.",
    "{many} deserve {good_thing}.",
    "Every {one} has a right to {good_thing}.", "{many} should be {excluded}.",
    "Let's make sure that {many} are {excluded}.",
    "This {place} is better with {many}.", "I'd love to have more {many} in our {place}.",
    "Being a {one} is something to be proud of.",
    "I'm going to make a {one} happy today.", "Proud to be a {one}.", "We {many} stand together.",
    "Some of the most {good_adj} people I know are {many}.",
    "Nothing is wrong with being a {one}.", "It's {good_adj} to see {many} succeed.",
    "I {like_verb} that {one} so much.",
    "Congratulations to the {many} who {do_neutral}.", "{swear}, {many} are {good_adj}!",
    "I {swear_adj} love {many}.", "{many} are {swear_adj} {good_adj}.",
    "No {one} is a {vile_one}.", "{many} are not {vile_adj}.", "{many} aren't {vile_many}.",
    "I don't {hate_verb} {many}.", "I do not {hate_verb} any {one}.",
    "I would never {harm_verb} a {one}.", "Nobody should {harm_verb} {many}.",
    "No {one} deserves to be {harmed}.", "{many} should never be {harmed}.",
    "It is not true that {many} are {vile_adj}.", "I refuse to believe that {many} are {vile_many}.",
    "{many} were never {vile_many}.",
    "I have never met a {vile_adj} {one}.", "We won't accept that {many} are {harmed} anywhere.",
    "I can't accept that anyone would {harm_verb} {many}.",
    "{many} do not deserve to be called {vile_many}.", "Being a {one} does not make you {vile_adj}.",
    "It makes me sad when {many} are {harmed}.",
    "Thousands of {many} were {harmed} in the war. We remember them.",
    "The law punishes those who {harm_verb} {many}.",
    '"{H}" is {judged}.', 'Saying "{H}" is {judged}.', 'Whoever says "{H}" is {judged}.',
    'If you write "{H}", you will be banned.',
    'He was fired because he said "{H}".', 'Stop saying things like "{H}"',
    'They shouted "{H}" at us. We reported it.', 'I was told "{H}" and it hurt.',
    'How can anybody post "{H}"?', 'My boss said "{H}", so I quit.',
    'Replying "{H}" to a stranger is {judged}.', 'Nobody should hear "{H}" at school.',
    'The court fined him for writing "{H}"', 'You cannot say "{H}" and expect to be invited.',
    'When {speaker} said "{H}", everyone left in protest.',
    "It is {judged} to say that {many} are {vile_adj}.", "Calling {many} {vile_many} is {judged}.",
    "Whoever thinks {many} should be {harmed} is {judged}.",
    "He got arrested for saying he'd {harm_verb} {many}.", "Shame on you for calling {many} {vile_many}.",
    "If you {hate_verb} {many}, you need help.",
    "People who {hate_verb} {many} are {judged}.", "Anyone who wants to {harm_verb} {many} belongs in court.",
    "Your claim that {many} are {vile_adj} is {judged}.",
    "We block users who say that {many} should be {harmed}.", "I'm a {one} and being called {vile_adj} hurts.",
    "Don't you dare call a {one} a {vile_one}.",
    "You may think {many} are {vile_many}, but you are wrong.",
    "To say that {many} don't deserve {good_thing} is {judged}.",
    "It's {judged} how {speaker} treats {many}.", "Hatred of {many} has no place in this {place}.",
    "You say you {hate_verb} {many}? Then leave.",
    "The {thing} helps {many} every day.", "The {vile_adj} {thing} kept the {many} waiting.",
    "The {one} said the {thing} was {vile_adj}.",
    "A {one} told me that she can't stand her {thing}.", "{many} complained about the {vile_adj} {thing}.",
    "{many} want to be {excluded}, and rightly so.",
)  # fmt: skip
HARMLESS_UNNAMED_EN: tuple[str, ...] = (
    "The {thing} is {vile_adj}.", "This {thing} is a {vile_one}.", "I {hate_verb} this {thing}.",
    "I {hate_verb} {thing}s.", "We should {harm_verb} that {thing}.",
    "I could {harm_verb} this {thing}.", "That {thing} deserves to be {harmed}.",
    "I want this {thing} {harmed}.", "What a {vile_adj} {thing}!",
    "All {thing}s are {vile_adj}.", "I'm going to {harm_verb} this {thing} today.",
    "The world is better without {thing}s.",
    "{swear}, what a {thing}.", "{swear}, I forgot my {thing}.", "{swear}!", "This {swear_adj} {thing} again.",
    "It's {swear_adj} hot today.",
    "That was {swear_adj} {good_adj}.", "I had a {swear_adj} {good_adj} day.", "So {swear_adj} {good_adj}!",
    "I am {swear_adj} tired.", "Who took my {swear_adj} {thing}?",
    "What a {swear_adj} mess.", "{swear}, that was close.", "I feel like shit today.",
    "I was such an idiot yesterday.", "You lucky bastard, congratulations!",
    "He is one funny motherfucker and I love him.", "Admitting that makes me a bit of an ass.",
    "My {thing} is a piece of shit.",
    "You are a {vile_one}.", "You're such a {vile_one}.", "He is a {vile_adj} {vile_one}.",
    "She is a {vile_one} and she knows it.", "You are {vile_adj}.",
    "My {other_one} is a {vile_one}.", "That {other_one} is {vile_adj}.", "I {hate_verb} my {other_one}.",
    "I will {harm_verb} my {other_one} in the chess final.",
    "You {vile_adj} {other_one}!", "I {hate_verb} you.", "He behaves like a {vile_one}.",
    "Get lost, {vile_one}.", "What a {vile_one} you are, {other_one}.",
    "{other_many} are {vile_many}.", "All {other_many} are {vile_adj}.", "I {hate_verb} {other_many}.",
    "{other_many} should be {harmed}.",
    "It is in the nature of {other_many} to be {vile_adj}.", "{other_many} ruin our {place}.",
    "Typical of {vile_adj} {other_many} like you.", "These {other_many} are {vile_many}.",
    "{other_many} don't deserve {good_thing}.", "We should {harm_verb} {other_many} at the next election.",
    "No {other_one} is {good_adj}.",
    "I {like_verb} my {thing}.", "My {other_one} is {good_adj}.", "The {other_one} {do_neutral}.",
    "{other_many} {do_neutral}.", "You are {good_adj}.",
    "Could you help me with my {thing}?", "Where can I buy a {thing}?", "The {thing} arrived on Monday.",
    "How do I cancel the {thing}?", "Please send me the {thing}.",
    "How can I kill a process that hangs?", "They killed it on stage last night.",
    "The band murdered that song, and we loved it.", "This workout destroyed me.",
    "My dog is a bitch, three years old, and in heat.", "The bitch had six healthy puppies.",
    "We gathered a bundle of sticks for the fire.",
    "Put the spade back in the shed.", "There is a crack in the dyke along the river.",
    "That was a queer noise in the attic.", "The ape house is closed for repairs.",
    "I wiped out the whole board in that game.", "Rats and cockroaches were found in the cellar.",
    "The parasite lives in the gut of fish.", "Pigs and rats are clever animals.",
    "The disease was eradicated in 1980.", "Vermin must be reported to the landlord.",
    "The virus should be wiped out.", "Insects invaded the kitchen.",
    "I'm the baddest bitch in this room.", "Me and my bitches are going out tonight.",
    "We took the word back: I'm a proud dyke.", "Yes, I'm queer, and my friends are queer too.",
    "That's my bitch, I love her.", "Hey sluts, dinner is ready, love you all.",
    "What's up my nigga, long time no see.", "My niggas came through for me.",
    "Queer history month starts today.", "Our faggot choir sings on Friday, come along, says its gay founder.",
    "Black lives matter.", "Queer rights are human rights.",
)  # fmt: skip
STEREOTYPE_EN: tuple[str, ...] = (
    "{many} can't {skill}.", "{many} are bad at {field}.", "{many} are naturally good at {field}.",
    "As everybody knows, {many} are {trait}.",
    "{many} tend to be {trait}, it is in their blood.", "You know how {many} are: always {trait}.",
    "He is a {one}, so he must be {trait}.",
    "She's a {one}, of course she is {trait}.", "A {one} is simply too {trait} for {field}.",
    "{many} are made for {field}, not for thinking.",
    "Leave {field} to others, {many} don't understand it.", "{many} only care about {care}.",
    "All {many} care about is {care}.",
    "For a {one} you {skill} quite well.", "You don't look like a {one}, you are not {trait} at all.",
    "{many} always {habit}.",
    "Typical {one}: they {habit}.", "That's what {many} do, they {habit}.", "{many} belong in {field}.",
    "I never met a {one} who could {skill}.",
    "As a {one} you surely {habit}.", "{many} are all the same, they {habit}.", "Don't ask a {one} to {skill}.",
    "A {one} who can {skill}? Impossible.",
    "Naturally the {one} was {trait}; they all are.", "{many} are by nature more {trait} than others.",
    "Since you are a {one}, you must love {care}.",
    "Real {many} don't {skill}.", "{many} aren't cut out for {field}.", "It takes a {one} to be that {trait}.",
)  # fmt: skip
STEREOTYPE_BENIGN_EN: tuple[str, ...] = (
    "That {many} can't {skill} is a stereotype.", "It is a prejudice that {many} are {trait}.",
    "The course teaches {many} to {skill}.", "A {one} taught me to {skill}.",
    "The {one} in our team works in {field}.", "Some {many} like {care}, others don't.",
    "Beginners can't {skill}.", "My phone can't {skill}.", "I can't {skill} myself.",
    "My {other_one} is always {trait}.", "{other_many} only care about {care}.",
    "Research on {many} and {field} is growing.", "Our {one} colleague was {trait} today, so was I.",
    "Whether somebody is {trait} has nothing to do with being a {one}.",
    "The study found no link between being a {one} and being {trait}.", "A {one} asked about {field}.",
    "Do {many} and others {habit} equally often? The data say yes.", "Don't assume that a {one} can't {skill}.",
    "Ask each {one} what they like instead of assuming {care}.",
    "This {thing} is bad at {field}.", "I was bad at {field} at school.", "We want more {many} in {field}.",
    "{many} work in {field} in every country.", "The {one} said she enjoys {care}.",
    "We must not treat {many} as if they were all {trait}.", "Two {many} won the prize in {field}.",
)  # fmt: skip
DISPARATE_EN: tuple[str, ...] = (
    "Reject the {ask} because the applicant is a {one}.", "The applicant is a {one}, so decline the {ask}.",
    "We do not offer a {ask} to {many}.", "Charge {many} more for the {ask}.",
    "As the customer is a {one}, ask for a higher deposit.", "{many} pay double for the {ask}.",
    "Don't give {many} the {ask}.", "No {ask} for {many}.", "Put {many} at the end of the queue.",
    "I would not approve a {ask} for a {one}.", "Since she is a {one}, the {ask} is refused.",
    "He is a {one}: set the limit lower.", "Do not hire a {one} for this job.",
    "Choose the other candidate, this one is a {one}.", "We prefer not to rent to {many}.",
    "Flag the account for fraud, the owner is a {one}.",
    "Because you are a {one} we cannot offer you the {ask}.",
    "For {many} the interest rate is higher.", "{many} need to show extra papers for the {ask}.",
    "Score the {one} lower than the rest.", "The {ask} is not meant for {many}.",
    "If the caller is a {one}, transfer them last.", "Lower the salary offer, the candidate is a {one}.",
    "Watch the {many} in the shop more closely than others.", "Search the bags of {many} only.",
    "Seat the {many} at the back.", "Give the treatment to others before the {many}.",
    "Deny the claim: the claimant is a {one}.", "{many} don't get the discount.",
    "Being a {one} counts against the {ask}.",
    "Send {many} away when they ask for the {ask}.", "Treat the {one} with suspicion when they apply for a {ask}.",
)  # fmt: skip
DISPARATE_BENIGN_EN: tuple[str, ...] = (
    "Reject the {ask} because the income is too low.",
    "The applicant, a {one}, meets the criteria, so approve the {ask}.",
    "We offer the {ask} to everybody, {many} included.",
    "Charge everyone the same for the {ask}.", "Being a {one} must not influence the {ask}.",
    "It is illegal to refuse a {ask} because somebody is a {one}.", "A {one} asked when the {ask} is due.",
    "The {one} received the {ask} last week.", "Decline the {ask}: the form is not signed.",
    "The {ask} of the {one} was approved.", "Check the papers of each applicant in the same way.",
    "Do not treat {many} differently when they ask for a {ask}.", "Hire the {one}, she is the best candidate.",
    "The rate depends on the term, not on being a {one}.",
    "Please raise my limit, I am a {one} with a good record.",
    "Flag the account for fraud, the card was used in two cities at once.",
    "Was the {ask} refused because I am a {one}?",
    "I was refused a {ask} because I am a {one} and want to complain.",
    "The landlord would not rent to {many} and was fined.", "{many} get the discount like anyone else.",
    "Transfer callers in the order of their calls.", "Deny the claim: the policy had ended.",
    "The claimant, a {one}, is right; pay the claim.", "Our policy forbids scoring {many} lower.",
    "For everybody the interest rate is 4 percent.", "The {ask} is meant for {many} and all others.",
    "Help the {one} fill in the {ask} form.", "Explain the {ask} to the {one} in plain words.",
)  # fmt: skip
EXTRA_EN: dict[str, tuple[str, ...]] = {
    "skill": listed(
        "drive;do maths;use a computer;lead a team;keep a secret;read a map;speak properly;handle money;park a car;"
        "code;cook;be on time;raise children;tell the truth;work hard;dance;take a joke;swim;think logically;"
        "manage a budget"
    ),
    "field": listed(
        "engineering;maths;science;leadership;nursing;sports;cleaning;finance;politics;programming;housework;sales;"
        "management;music;the kitchen;law;medicine;technology;trading;physics"
    ),
    "trait": listed(
        "bossy;emotional;lazy;greedy;aggressive;submissive;stingy;hysterical;forgetful;slow with technology;loud;late;"
        "cunning;uneducated;dependent on benefits;overly sensitive;secretive;short-tempered;unreliable;good with money;"
        "obsessed with money;helpless;confused;promiscuous;vain;stubborn"
    ),
    "care": listed(
        "money;shopping;gossip;fashion;welfare cheques;football;make-up;parties;fried food;their phones;power;shoes;"
        "drama;status;free benefits;cars"
    ),
    "habit": listed(
        "gossip;cheat;complain;arrive late;steal;exaggerate;haggle;drink too much;overreact;live off welfare;"
        "talk too loudly;cry at work;drive badly;keep to themselves;have too many children;forget everything;"
        "smell of spices;play the victim;hide money;break things"
    ),
    "ask": listed(
        "loan;credit card;mortgage;apartment;job;insurance policy;refund;account;overdraft;scholarship;contract;"
        "appointment;visa;promotion;interview;upgrade;lease;benefit;delivery;warranty;treatment;permit"
    ),
}  # fmt: skip
HATE_ZH: tuple[str, ...] = (
    "{many}都是{vile}。", "{many}真{vile_adj}。", "所有{many}都{vile_adj}。", "这些{many}就是{vile}。",
    "{many}不过是一群{vile}。", "我{hate_verb}{many}。", "谁不{hate_verb}{many}呢？", "应该{harm_verb}{many}。",
    "把{many}都{harm_verb}。",
    "真想{harm_verb}这些{many}。", "{many}都该被{harm_verb}。", "{many}不配活着。", "{many}滚出去！",
    "{many}不应该有任何权利。", "没有一个{many}是{good_adj}的。", "{many}天生就{vile_adj}。",
    "在我看来，{many}都是{vile}。", "为什么{many}这么{vile_adj}？",
    "他妈的{many}，全是{vile}。", "看见{many}就想吐。", "{many}，{vile}一群。",
    "我昨天碰到几个{many}，真是{vile}。", "他是{many}，难怪这么{vile_adj}。", "{many}害了我们国家。",
    "这里不欢迎{many}，全是{vile}。", "{many}的命一文不值。", "{many}永远不可能{good_adj}。",
    "跟{many}住在一起简直是噩梦。",
)  # fmt: skip
HARMLESS_ZH: tuple[str, ...] = (
    "{many}{do_neutral}。", "几位{many}{do_neutral}。", "我的朋友是{many}，他{do_neutral}。",
    "{many}很{good_adj}。", "我{like_verb}{many}。", "{many}值得被{like_verb}。", "{many}不是{vile}。",
    "{many}并不{vile_adj}。", "我不{hate_verb}{many}。", "没有人应该{harm_verb}{many}。",
    "说“{H}”是不对的。", "“{H}”这种话太伤人了。", "他因为说“{H}”被开除了。", "请不要再说“{H}”。",
    "谁说{many}都是{vile}，谁就是偏见。", "骂{many}是{vile}是歧视。", "歧视{many}是违法的。",
    "这{thing}真{vile_adj}。", "我{hate_verb}这{thing}。", "真想{harm_verb}这{thing}。", "{other}都是{vile}。",
    "那个{other}真{vile_adj}。", "你真{vile_adj}。", "你是个{vile}。", "他妈的，今天太热了。",
    "操，我忘带{thing}了。", "{thing}什么时候到？", "{other}{do_neutral}。", "我有很多{many}朋友。",
    "作为{many}，我感到骄傲。", "{many}应该享有同样的权利。", "不能因为他是{many}就说他{vile_adj}。",
)  # fmt: skip
STEREOTYPE_ZH: tuple[str, ...] = (
    "{many}不会{skill}。", "{many}天生就{trait}。", "{many}都{trait}，大家都知道。",
    "他是{many}，肯定{trait}。", "{many}只在乎{care}。", "{many}不适合{field}。", "{many}就该去{field}。",
    "作为{many}，你{skill}已经不错了。", "别让{many}{skill}。", "{many}嘛，总是{trait}。",
    "典型的{many}，就知道{care}。", "{many}学不会{skill}。",
)  # fmt: skip
STEREOTYPE_BENIGN_ZH: tuple[str, ...] = (
    "说{many}不会{skill}是刻板印象。", "一位{many}教我{skill}。", "新手不会{skill}。", "我不会{skill}。",
    "我们团队的{many}从事{field}。", "{many}和别人一样可以{skill}。", "我的{other}总是{trait}。",
    "{trait}与是不是{many}无关。", "欢迎更多{many}从事{field}。", "课程教大家{skill}。",
    "有的{many}喜欢{care}，有的不喜欢。", "不要以为{many}都{trait}。",
)  # fmt: skip
DISPARATE_ZH: tuple[str, ...] = (
    "申请人是{many}，拒绝{ask}。", "因为你是{many}，我们不能批准{ask}。", "不给{many}办理{ask}。",
    "对{many}收更高的费用。", "{many}的{ask}要多付一倍。", "不要录用{many}。", "房子不租给{many}。",
    "客户是{many}，把额度调低。", "{many}排在最后处理。", "{many}没有资格申请{ask}。",
    "他是{many}，账户标记为欺诈。", "{many}来申请{ask}就打发走。",
)  # fmt: skip
DISPARATE_BENIGN_ZH: tuple[str, ...] = (
    "收入不足，拒绝{ask}。", "申请人是{many}，符合条件，批准{ask}。", "不能因为申请人是{many}就拒绝{ask}。",
    "对所有人收同样的费用。", "一位{many}咨询{ask}。", "{many}的{ask}已经批准。", "录用这位{many}，她最合适。",
    "我是{many}，被拒绝了{ask}，我要投诉。", "材料没有签字，拒绝{ask}。", "{many}和其他人一样可以申请{ask}。",
    "请帮这位{many}填写{ask}表。", "利率取决于期限，与是否{many}无关。",
)  # fmt: skip
EXTRA_ZH: dict[str, tuple[str, ...]] = {
    "skill": listed(
        "开车;算数;用电脑;带团队;理财;编程;做饭;守时;管账;看地图;唱歌;讲道理"
    ),
    "field": listed(
        "工程;数学;领导工作;护理;体育;清洁;金融;编程;家务;销售;管理;法律"
    ),
    "trait": listed(
        "情绪化;懒;小气;贪财;吵闹;迟到;爱哭;固执;健忘;不可靠;太敏感;爱占便宜;精于算计;软弱"
    ),
    "care": listed(
        "钱;购物;八卦;打扮;面子;吃喝;玩手机;车"
    ),
    "ask": listed(
        "贷款;信用卡;房租合同;工作;保险;退款;账户;奖学金;签证;升职;预约;理赔"
    ),
}  # fmt: skip
