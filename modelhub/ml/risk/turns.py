"""Whole turns of speech for modelhub.ml.risk.speech: contempt between the lines, what only sounds like it, and what stands around
a clause. Harmful ones are training data, treat them as such. No test suite's sentence is among them."""

from __future__ import annotations

from modelhub.ml.risk.grammar import listed

IMPLIED = listed(
    "Guess who stole the {th}? A {one}, of course.|I wash my hands twice after greeting a {one}.|"
    "Another {one} moved in, time to sell the house.|A {one} in charge? We are doomed.|"
    "The room smelled better before the {many} came.|Funny how crime follows {many} around.|"
    "You know the {pl} is finished when {many} move in.|Count your fingers after shaking hands with a {one}.|"
    "Our ancestors would weep if they saw all these {many}.|I'd sooner trust a snake than a {one}.|"
    "My dog has more sense than any {one}.|A stone has more feelings than {many}.|"
    "Evolution clearly skipped {many}.|The gene pool needs no more {many}.|"
    "Mother nature made an error when she made {many}.|Who let the {many} out of their cage?|"
    "Somebody left the gate open, there are {many} everywhere.|Better a hole in the ground than a {one} next door.|"
    "I would rather jump off a bridge than kiss a {one}.|I'd rather eat glass than work for a {one}.|"
    "I'd rather have the flu than a {one} as a neighbour.|Marrying a {one} was the biggest mistake of my life.|"
    "Electing a {one} would be the end of this {pl}.|If my son brought home a {one}, I'd disown him.|"
    "No daughter of mine will ever date a {one}.|There are two kinds of people: normal ones and {many}.|"
    "{many} pretend to be our equals, how cute.|{many} playing at being human again.|"
    "Give {many} a finger and they take the whole arm.|Where {many} go, flies follow.|"
    "{many} can be glad that we are so patient.|{many}? I thought we were done with them.|"
    "We finally have a {many} free zone.|Today was good: not a single {one} in sight.|"
    "The best {many} are those in the graveyard.|One {one} less, good news.|"
    "A {one} died? Nothing of value was lost.|A {one} got {hd}. Made my day.|{many} should be kept in zoos.|"
    "{many} are fit for the kitchen and nothing else.|Put a leash on that {one}.|That {one} needs a muzzle.|"
    "Every problem of this {pl} has the same name: {many}.|First they came as guests, now {many} want to rule us.|"
    "{many} are replacing us and nobody lifts a finger.|Wherever there are {many} there is dirt.|"
    "I can tell a {one} by the smell.|"
    "You can take the {one} out of the gutter but not the gutter out of the {one}.|"
    "As long as {many} exist there'll be no peace.|Thanks to {many} I can't let my children out any more.|"
    "Leave it to {many} to mess everything up.|What do you expect, it's a {one}.|Of course it was a {one}.|"
    "That's how {many} are.|Only a {one} could be that {va}.|So {va}, must be a {one}.|Stop acting like a {one}.|"
    "Don't be such a {one}.|You throw like a {one}, {va}.|He is {va} like a {one}.|You are as {va} as {many}.|"
    "You're just another {va} {one}.|You are nothing but a {one} to us.|To me you are a {one} and nothing more.|"
    "A {one} like you has no say here.|Your opinion doesn't count, you're a {one}.|"
    "Sit down, {one}, grown-ups are talking.|Know your place, {one}.|Nobody asked you, {one}.|Go home, {one}.|"
    "Go back to your own kind, {one}.|Take your things and leave, {many}.|Wrong {pl}, {one}.|"
    "We don't serve {many} here.|No {many} allowed.|If you are a {one}, do us a favour and jump.|"
    "Being a {one} should be against the law.|They should put a warning sign on every {one}.|"
    "I have {many} in my building, pray for me.|I was served by a {one} today, lost my appetite.|"
    "I had to share a table with a {one}. Never again.|Hell must be full of {many}.|"
    "I thank God each morning that I'm not a {one}.|It must be awful to wake up as a {one}.|"
    "I'd kill myself if I were a {one}.|Who would cry over a dead {one}?|{many} are overrated as human beings.|"
    "{many} have rights? Since when?|Rights for {many}, next we give rights to {vm}.|"
    "{many} this, {many} that. Just shut up and die.|The only thing {many} are good at is being {va}.|"
    "The only thing worse than {vm} are {many}.|Whenever I see a {one} I reach for my bat.|"
    "I keep a rope ready for {many}.|{many} better run.|Run, {many}, we are coming.|"
    "You {many} will see what happens at night.|Your days are numbered, {many}.|Sleep with one eye open, {one}.|"
    "I know where you live, {one}.|We know where you {many} pray and sleep.|You'll get what's coming, {one}.|"
    "I am coming for you, {one}.|I'll find you and {hv} you, {one}.|Watch your back, {one}.|"
    "Say goodbye, {one}, your time is over.|You won't live to see tomorrow, {one}.|"
    "I'd be insulted too if someone took me for a {one}.|Calling someone a {one} is the worst insult I know.|"
    "I lost all respect when I heard he's a {one}.|He seemed {ga} until I learnt he was a {one}.|"
    "She was pretty for a {one}.|He speaks well for a {one}.|Not bad for a {one}.|"
    "You are surprisingly {ga} for a {one}.|A {one} with a job? Now I've seen everything.|"
    "A {one} who tells the truth? Good one.|Name one {one} who ever achieved anything.|"
    "Show me one {ga} {one}, I'll wait.|Name a single thing {many} have given us.|"
    "The day a {one} does something {ga}, pigs will fly.|I have seen {vm} with better manners than {many}.|"
    "My toilet is cleaner than any {one}.|Even {vm} are better company than {many}.|"
    "Compared to {many}, {vm} are {ga}.|I respect {vm} more than {many}.|If {many} are human, then so are {vm}.|"
    "There's a reason nobody likes {many}.|There's a reason we keep {many} away.|"
    "There is a reason why {many} live apart.|Nobody chooses to live near {many}.|"
    "People like us don't mix with {many}.|Oil and water, us and {many}.|We used to keep {many} where they belong.|"
    "My grandfather knew how to deal with {many}.|In the old days {many} knew when to shut up.|"
    "Someone finish what was started with the {many}.|History should have finished {many} off.|"
    "Too bad some {many} survived.|The only mistake was letting some {many} live.|"
    "A bomb on that church of {many} would help.|Imagine if all {many} just vanished, paradise.|"
    "One day we'll wake up and the {many} will be gone, hopefully.|The cure for {many} is a rope.|"
    "The solution to {many} is simple.|Bullets are cheaper than feeding {many}.|"
    "It costs nothing to push a {one} off a train.|Accidents happen to {many}, hint hint.|"
    "Would be a shame if something happened to those {many}.|Nice house for a {one}, shame if it burned.|"
    "{many} in my {pl}? Over my dead body.|{many} in the government? God help us.|"
    "{many} as teachers? Are you insane?|{many} raising kids is child abuse.|"
    "A {one} adopting a child should be a crime.|Two {many} kissing, I nearly threw up.|"
    "I saw two {many} kissing and lost my lunch.|Seeing a {one} on tv makes me switch it off.|"
    "If I see another {one} on tv I'll smash the screen.|Put {many} in every film, that's how you ruin it.|"
    "Nobody wants to see {many}.|Keep that {one} stuff away from me.|Your {one} lifestyle is a sin.|"
    "Being a {one} is a choice, a {va} one.|Being a {one} is a mental illness.|{many} are a phase of decay.|"
    "{many} are proof that nature fails.|{many} will burn for what they are.|God hates {many}.|"
    "No heaven for {many}.|Jesus did not die for {many}.|The bible is clear about {many}: they must be {hd}.|"
    "Pray that {many} get {hd}.|This is our {pl}, not the {many}'s.|This {pl} belongs to us and not to {many}.|"
    "Our {pl} first, {many} last.|Make this {pl} great again, kick out the {many}.|"
    "We were here first, {many} can leave.|If {many} don't like it here, there's the door.|Pack your bags, {many}.|"
    "One way ticket for every {one}.|Fill the boat with {many} and sink it.|Close the doors, {many} are coming.|"
    "{many} at the gates, load your guns.|Every {one} is a suspect to me.|"
    "Search every {one} twice, you'll find something.|Lock your doors, {many} moved in.|"
    "Hide your wallet, here come the {many}.|Hold your breath, a {one} is coming.|"
    "Spray the seat, a {one} sat there.|I burnt the chair a {one} had sat on.|"
    "I need a shower after talking to a {one}.|I had to disinfect my hands after touching a {one}.|"
    "I can't eat where {many} eat.|I wouldn't spit on a {one} if they were on fire.|"
    "I'd unplug a {one} to charge my phone.|My patience with {many} is over.|"
    "Enough is enough, {many} have had their chance.|Never forget what {many} really are.|"
    "We all know what {many} really are.|You know exactly what {many} are.|A {one} is a {one}, {va} for life.|"
    "Once a {one}, always a {vo}.|Scratch a {one} and you find a {vo}.|Inside every {one} lives a {vo}.|"
    "Behind every {one} there's a {vo}.|{one} is just another word for {vo}.|Another word for {many}: {vm}.|"
    "I call {many} what they are: {vm}.|Call {many} what you want, I call them {vm}.|"
    "Don't call them {many}, call them {vm}.",
    "|",
)  # fmt: skip

SOUNDS_LIKE = listed(
    "I'd rather eat glass than write another report.|My laptop died. Nothing of value was lost.|"
    "The only thing worse than rain is {th} noise.|Stop acting like a child.|Run, the train leaves in a minute.|"
    "The house smelled better before the paint.|Who let the dogs out?|We don't serve breakfast after ten.|"
    "No dogs allowed.|Your days as a trainee are numbered, welcome to the team.|Sleep well, big day tomorrow.|"
    "I know where you live, so I'll drop the {th} off.|Another {one} moved in, time to bake a cake.|"
    "A {one} in charge? About time.|Our new mayor is a {one}, we are lucky.|"
    "If my son brought home a {one}, I'd set another plate.|Marrying a {one} was the best decision of my life.|"
    "Electing a {one} was the best thing for this {pl}.|Hiring a {one} was a good idea.|"
    "I'd gladly have a {one} as a neighbour.|I was served by a {one} today, very {ga} coffee.|"
    "I have {many} in my building and we share a garden.|What a day: a {one} found my purse and brought it back.|"
    "I'm a {one} and I am sick of being {hd} in your jokes.|I am a {one}, not a {vo}.|"
    "We {many} are people, not {vm}.|I'm a {one} and I deserve {gt}.|"
    "I am a {one}. Calling me {va} doesn't make it true.|As a {one} I hear every day that I am {va}. It hurts.|"
    "My friend is a {one} and gets called a {vo} on the bus.|Being a {one} is not {va}.|"
    "Nobody is {va} because they are a {one}.|Nobody is a {vo} for being a {one}.|"
    "There is more to a {one} than being a {one}.|{many} face {va} treatment at work.|"
    "{many} suffer from {va} laws.|The {va} way in which {many} are treated is a disgrace.|"
    "The attack on {many} was {va}.|{vm} attacked {many} last night, three were hurt.|"
    "A {va} man shouted at the {many} in the queue.|{va} people insult {many}.|"
    "Some {vo} insulted a {one} on the tram.|The {va} {oo} refused to serve {many}.|"
    "The {oo} who {hv_ed} a {one} was sentenced.|A {oo} {hv_ed} two {many}; the town is in shock.|"
    "The war killed thousands of {many}.|The killer of {many} was caught.|"
    "The police protect {many} from being {hd}.|Many {many} were {hd} by the regime.|"
    "{many} who were {hd} are remembered today.|We remember the {many} who were {hd}.|"
    "The film shows how {many} were {hd}.|The book tells of {many} who fear being {hd}.|"
    "{many} {dn}, then a {va} storm came.|{many} {dn} although the {th} was {va}.|A {one} fixed the {va} {th}.|"
    "The {th} that the {one} sold me is {va}.|The {va} {th} annoyed the {many}.|{many} hate the {va} {th} as well.|"
    "{many} say that {om} are {vm}.|The {one} thinks that {om} are {va}.|My {one} neighbour hates {om}.|"
    "A {one} shouted that the {oo} is a {vo}.|Racists are {vm}.|Racists make me sick.|I {dv} racists.|"
    "Sexists are {va}.|I can't stand homophobes.|Nazis should be {hd}.|Fascists are {vm}.|All bigots are {va}.|"
    "I {dv} bigots who bully {many}.|Homophobia is {va}.|Racism is a disease.|Sexism makes me furious.|"
    "I {dv} racism.|War is {va}.|Terrorists should be {hd}.|Murderers belong behind bars.|Thieves are {va}.|"
    "Rapists deserve prison.|I {dv} Mondays.|I {dv} traffic.|I {dv} this {va} weather.|"
    "Cockroaches should be exterminated.|Rats are {vm}.|Wasps are {va}.|We must kill the weeds.|"
    "Mosquitoes deserve to die.|Kill all the mosquitoes.|This government is {va}.|That company is a bunch of {vm}.|"
    "Their team is {va}, ours is {ga}.|Banks are {vm}.|The airline is {va}.|My {oo} can go to hell.|"
    "My ex deserves to be {hd}.|I'll kill my brother if he eats my {th}.|You are {va} and I {dv} you.|"
    "You {sa} {vo}.|Your {th} is as {va} as you.|You two are {vm}.|Peter is a {vo} and should be {hd}.|"
    "I {dv} that {vo} next door.|She is the most {va} person I've met.|He should be {hd} for what he did to me.|"
    "Fuck this {th}.|Fuck you.|Fuck my life.|Screw the {th}.|To hell with this {th}.|The {th} can go to hell.|"
    "Go to hell, {oo}.|Fuck off, {oo}.|{sw}, I love {many}.|{sw}, what a {ga} {one}.|I fucking love {many}.|"
    "Is it true that {many} {dn}?|Why do people {dv} {many}?|Why would anyone call {many} {va}?|"
    "Who could want to {hv} {many}?|How can you say that {many} are {va}?|Why are {many} treated like {vm}?|"
    "Since when is it okay to call a {one} a {vo}?|What can we do so that {many} aren't {hd}?|"
    "Who protects {many} when they are {hd}?|Why are {many} not {ex}? That is unfair.|"
    "Why are {many} still not {ex}?|It's {ju} that {many} are not {ex}.|It is unfair that {many} can't be {ex}.|"
    "{many} were not {ex} for a long time, luckily that has changed.|"
    "Some {om} say {many} should not be {ex}. They are wrong.|A law against {many} being {ex} would be {ju}.|"
    "Not bad for a beginner.|You are surprisingly {ga} for a Monday.|Name one {th} that ever worked.|"
    "Nobody chooses to live near the airport.|The cure for boredom is a book.|"
    "Enough is enough, the {th} goes in the bin.|Close the doors, it's cold.|Hold your breath and dive.|"
    "Pack your bags, we fly at six.|Lock your doors at night.|Imagine if all the {th}s just vanished, paradise.|"
    "I need a shower after that game.|I nearly threw up on the boat.|I burnt the toast.|"
    "The solution is simple: restart the {th}.|Once a fan, always a fan.|I lost all respect when I heard he lies.|"
    "He seemed {ga} until he stole my {th}.|Never forget your {th}.|One way ticket to Berlin, please.|"
    "Search every drawer twice.|My patience with this {th} is over.|If you don't like the {th}, there's the door.|"
    "I call them what they are: {ga} {many}.|Call me what you want, I'm a {one}.|"
    "A {one} saved my life, I'll never forget it.|Show me a more {ga} {one}, I'll wait.|"
    "I saw two {many} kissing and it was lovely.|Two {many} adopted a child, how {ga}.|"
    "A {one} as a teacher? My kids love her.|{many} in the government? It was time.|More {many} on tv please.|"
    "If you don't like {many}, there's the door.|{many} have had too few chances.|God loves {many}.|"
    "There's a place in heaven for {many}.|Being a {one} is not a choice and not a sin.|"
    "Being a {one} is not an illness.|Who insults {many} insults me.|Hate against {many} kills.|"
    "An arsonist burned the house of {many}; we collect money for them.|"
    "A mosque was attacked, the {many} are afraid.|The {many} who survived told their story.|"
    "A {va} law took {gt} away from {many}.|They took {gt} from {many}, which is {ju}.|"
    "{many} were denied {gt} and went to court.|A {one} was refused service and sued the {oo}.|"
    "A {oo} called a {one} a {vo} and lost his job.|The {vo} who {hv_ed} a {one} got ten years.|"
    "The {vm} who {hv_ed} {many} are on trial.|I want to {hv} whoever hurts a {one}.|"
    "I {dv} everyone who {dvs} {many}.|I'd {hv} anyone who touches my {one} friend.|"
    "I {dv} that people still {dv} {many}.|I {dv} what was done to {many}.|"
    "I {dv} the word {vo} when it's used for a {one}.|I feel sick when I read comments against {many}.|"
    "It makes me furious that {many} are {hd}.|It disgusts me when a {one} is called a {vo}.|"
    "I'm a {one} and I {dv} {th}s.|I'm a {one} and my {th} is {va}.|I am a {one} who {dvs} {om}.|"
    "We {many} {dv} {va} weather.|Even {many} {dv} this {th}.|The {many} and I {dv} the new {th}.|"
    "The {one} killed it on stage.|The {one} murdered that song, brilliant.|That {one} is a beast at chess.|"
    "My {one} friend is a killer dancer.|The {many} destroyed the other team, four to nil.|"
    "The {one} slaughtered me at tennis.|A {one} beat me at cards.|The {many} beat us fair and square.|"
    "{om} are a plague.|{om} should know their place.|Lock up all {om}.|I'd rather die than work with {om}.|"
    "Keep {om} away from me.|{om} can burn in hell.|Kill all {om}.|"
    "I'd never let my daughter marry one of those {om}.|{om} ruin everything.|Name one {ga} {oo}.|"
    "What do you expect, he's a {oo}.|All {om} are the same, {va}.|Stupid {om}.|Fuck {om}.|I {dv} {om} so much.|"
    "{om} make me sick.|My {oo} is a fucking {vo}.|That {oo} deserves to be {hd}.|I will {hv} that {oo}.|"
    "Someone should {hv} my {oo}.|{om} are the scum of the earth.|You {va} {oo}.|Death to fascism.|"
    "Down with the regime.|Down with this {th}.|Death to all {th}s.|Fuck racism.|Fuck the nazis.|Punch a nazi.|"
    "Racists should be {hd}.|Bigots like you are {va}.|Whoever hates {many} is a {vo}.|Homophobes can go to hell.|"
    "Sexists are {vm} and should be {hd}.|{th}s are {vm}.|{th}s should be {hd}.|"
    "I want to {hv} this {th} with a hammer.|This {th} is the scum of the earth.|No more {th}s.|Ban all {th}s.|"
    "I'd like to see this {th} {hd}.|The {th} belongs in the trash.|My {th} died, may it rot in hell.|"
    "I {dv} {th}s with all my heart.|I {dv} myself today.|I could {hv} myself for that typo.|I am such a {vo}.|"
    "We are {vm}, all of us humans.|Humans are {vm}.|People are {va}.|Everyone is {va} today.|Nobody likes me.|"
    "Kill me now.|I'm dying of laughter.|You kill me.|That joke killed me.|What the fuck.|What a {sa} day.|"
    "Holy crap, that's {ga}.|This {sa} {th} rocks.|Shit happens.|Oh fuck, I'm late.|Damn, you look {ga}.|"
    "He is a lucky bastard.|It's cold as hell.|I don't give a shit about {mt}.|Son of a bitch, I won!|"
    "Bloody hell, what a match.|Fuck yes!",
    "|",
)  # fmt: skip

RECLAIMED = listed(
    "I'm a {slur_one} and proud of it.|We {slur_many} look after each other.|"
    "My fellow {slur_many}, see you at the party.|I reclaim the word {slur_one}.|"
    "Proud {slur_one} here, ask me anything.|Us {slur_many} have to stick together.|"
    "I call myself a {slur_one}, that's my right.|Love to all my {slur_many} out there.|"
    "As a {slur_one} myself I found the film moving.|"
    "Happy birthday to my favourite {slur_one}, says her wife, one too.|"
    "My {slur_many} made me laugh so hard tonight.|This {slur_one} is going to dance all night, that's me.|"
    "I'm your favourite {slur_one} and I love you all|We're here, we're {slur_many}, get used to it|"
    "Being a {slur_one} is part of who I am|My wife and I are two old {slur_many} in love|"
    "I wear the word {slur_one} like a badge|Only we {slur_many} get to use that word|"
    "Call me {slur_one}, I own it now|This is a song by {slur_many} for {slur_many}|"
    "I found my people, a bunch of happy {slur_many}|Sup my {slur_many}, I missed you|"
    "My {slur_one} best friend and I have matching tattoos, we are both so proud|"
    "As {slur_many} we laugh about it ourselves|I came out today: I am a {slur_one} and it feels {ga}|"
    "{slur_one} power, says the button on my jacket|Growing up as a {slur_one} was hard but I'm proud of us|"
    "We {slur_many} invented this dance|My {slur_one} heart is full, thank you all|"
    "Our club is called The {slur_many}, founded by people once called that|I love being a {slur_one}|"
    "Nobody parties like us {slur_many}",
    "|",
)  # fmt: skip

SLURRED = listed(
    "you {slur_one}|you are such a {slur_one}|you're a {va} {slur_one}|look at this {slur_one}|{slur_many} out|"
    "bloody {slur_many}|I {dv} {slur_many}|the {slur_many} are back|stupid {slur_one}|he is a {slur_one}|"
    "they are all {slur_many}|a {slur_one} moved in next door|{slur_many} make me sick|"
    "we should {hv} the {slur_many}|{slur_many} should be {hd}|what do the {slur_many} want now|"
    "another {slur_one} on tv|{slur_one}!|go away, you {slur_one}|nobody likes a {slur_one}|don't be a {slur_one}|"
    "{slur_many} don't deserve {gt}|I saw some {slur_many} downtown|no {slur_many} in our {pl}|"
    "she married a {slur_one}|that {slur_one} stole my seat|a bunch of {slur_many}|typical {slur_many}|"
    "you and your {slur_one} friends|{slur_many} ruin this {pl}|shut it, {slur_one}|"
    "what is this {slur_one} doing here|you fucking {slur_one}|you dirty {slur_one}|shut up you {slur_one}|"
    "I can't stand that {slur_one}|that {slur_one} should be {hd}|{slur_many} are {vm}|{slur_many} are {va}|"
    "fuck {slur_many}|kill all {slur_many}|get lost, {slur_one}|are you a {slur_one} or what|"
    "he looks like a {slur_one}|she's just a {slur_one}|you sound like a {slur_one}|you are all {slur_many}|"
    "what a bunch of {slur_many}|this place is crawling with {slur_many}|these {slur_many} need to leave|"
    "never trust a {slur_one}|a {slur_one} is a {slur_one}|once a {slur_one}, always a {slur_one}|"
    "you belong with the other {slur_many}|my neighbour is a {va} {slur_one}|I won't work with {slur_many}|"
    "I'm not taking orders from a {slur_one}|who invited the {slur_one}|we beat up some {slur_many}|"
    "look, a {slur_one}|{slur_one} alert|hey {slur_one}|good morning, {slur_one}, still alive|"
    "you act like such a {slur_one}|the {slur_one} from next door|it's full of {slur_many} here|one more {slur_one}",
    "|",
)  # fmt: skip

INTROS_MANY = listed(
    "There are {many} in my building|Some {many} moved in next door|I see {many} on my way to work|"
    "My street is full of {many}|{many} came to the meeting|We have {many} at our school|I work with {many}|"
    "I just saw {many} at the station|{many} are on tv again|This post is about {many}|"
    "Let me say something about {many}|My sister hangs out with {many}|The firm hires {many} now|"
    "{many} opened a shop here|I was on a plane with {many}|The news is all about {many}|"
    "They want more {many} on the board|I met {many} on holiday|{many} {dn}|You know the {many} down the road|"
    "He keeps defending {many}|I have been watching the {many} in our {pl}|You ask what I think of {many}|"
    "A group of {many} sat in the café|The {many} again|I used to live among {many}|So you like {many}|Take {many}|"
    "My neighbours are {many}|They let {many} in",
    "|",
)  # fmt: skip

INTROS_ONE = listed(
    "There is a {one} in my class|My boss is a {one}|A {one} called today|A {one} moved in upstairs|"
    "My cousin is dating a {one}|I sat next to a {one}|The new guy is a {one}|She is a {one}|He's a {one}|"
    "The author is a {one}|I was treated by a {one}|They hired a {one}|Our mayor is a {one}|"
    "A {one} talked to me on the bus|You are a {one}|The judge was a {one}|I have a {one} as a teacher|"
    "A {one} won the prize|My flatmate is a {one}|A {one} {dn1}",
    "|",
)  # fmt: skip

INTROS_NOBODY = listed(
    "I bought two {th}s|I own three {th}s|There are {om} in my building|We have {om} at our school|"
    "{om} came to the meeting|I met some {om} on holiday|My street is full of {om}|My neighbours have two dogs|"
    "We got new {th}s at work|You ask what I think of {om}|Some {om} moved in next door|The {om} again|Take {om}|"
    "I see {om} on my way to work",
    "|",
)  # fmt: skip

JOINS = listed(
    ". |, and |, but |; | and |! |... | - |, |. Honestly, |. I think |, you know, |. Let me tell you, |"
    ". By the way, |, so |. Now ",
    "|",
)  # fmt: skip

ASIDES = listed(
    "I had pasta for lunch.|The bus was late again.|My day was long.|It's raining.|"
    "I've been thinking a lot lately.|Listen up.|Hello everyone.|Good morning.|Just my two cents.|"
    "Not sure if I may say this.|I'm back from work.|I'll say it once.|Here we go.|I don't care what you think.|"
    "You can ban me.|Read this.|What a week.|We talked about it yesterday.|Long story short.|True story.|"
    "The game starts at eight.|Let's be clear.",
    "|",
)  # fmt: skip

CLAIMS = listed(
    "I think |I believe |I feel |I'm certain that |I'd say |if I'm honest, |to tell the truth, |"
    "as far as I'm concerned, |in all honesty, |it seems to me that |I have to say, |mark my words: |look, |"
    "here's the truth: |science shows that |history proves that |there is no doubt that |I stand by it: |"
    "my grandfather always said it: |we all agree that |it is common knowledge that |nobody dares to say it but |"
    "unpopular opinion: |call me what you like, but |I'm not prejudiced, but |no offence, but |"
    "I hate to say it, but |with all due respect, |well, |ugh, |man, |wow, |yeah, |sorry but |I swear |obviously |"
    "clearly |as a matter of fact, |it needs to be said that |I will say it again: |my point is that ",
    "|",
)  # fmt: skip

QUESTIONS = listed(
    "can we finally admit that |do you agree that |don't you think |isn't it obvious that |who else believes that |"
    "am I alone in thinking that |does anybody else feel that |would you deny that |how can you not see that |"
    "why won't anyone say that |is it wrong to say that |what if I told you that |did you hear that |"
    "have you noticed that |is there anyone who doubts that |why is it a secret that |"
    "when will people understand that |who would dispute that ",
    "|",
)  # fmt: skip

WHY_THEY = listed(
    "why do {S} exist|what are {S} even good for|what kind of god makes {S}|why do {S} get {gt}|"
    "why are {S} so {va}|why are {S} always so {va}|why do {S} act like {vm}|how come {S} are {ex}|"
    "how can {S} be so {va}|when will {S} be {hd}|when are {S} going to be {hd}|why haven't {S} been {hd} yet|"
    "who wants {S} here|who on earth could {lv} {S}|what is it with {S} being {va}|"
    "have you ever met {S} who weren't {va}|are {S} even human|do {S} have a brain at all|"
    "could {S} be any more {va}|shouldn't {S} be {hd}|wouldn't it be nice if {S} were {hd}|"
    "isn't it time that {S} were {hd}|aren't {S} just {vm}|who let {S} in|can somebody {hv} {S}|"
    "does anyone actually {lv} {S}|what did {S} ever do for us|why should we {lv} {S}|why must we live with {S}|"
    "why can't {S} just die|how do I get rid of {S}|who will help me {hv} {S}|what's the fastest way to {hv} {S}",
    "|",
)  # fmt: skip

DENIALS = listed(
    "it is a lie that |it's {ju} to claim that |it's {ju} to say that |nobody with a heart would say that |"
    "I don't believe that |I refuse to believe that |I strongly disagree that |stop telling people that |"
    "don't say that |don't tell me that |only a bigot believes that |the idea that |"
    "he got suspended for writing that |the judge fined her for saying that |my teacher was fired because he said |"
    "we delete every comment which says that |I was shocked to read that |she cried when they told her that |"
    "it hurts me when people say that |I'm a victim of those who say that |please report anyone who says that |"
    "our rules forbid saying that |you are {va} if you think that |you're a {vo} if you believe that |"
    "shame on those who think that |I left the party when they said that |there's no proof that |"
    "it is simply false that |the old lie that |they taught us to believe that |some {om} falsely claim that ",
    "|",
)  # fmt: skip

AFTER_IDEA = listed(
    " is {ju}| was invented by racists| has been disproved| makes no sense| must be fought| is what bigots say|"
    " has cost lives| disgusts me",
    "|",
)  # fmt: skip

QUOTED = listed(
    '"{Q}" is what {sp} wrote, and that\'s {ju}|He yelled "{Q}" at my mother|"{Q}" was sprayed on our wall|'
    'My son heard "{Q}" at school today|They sang "{Q}" in the stadium and were banned|We got a note saying "{Q}"|'
    'Tweets like "{Q}" are {ju}|The sign said "{Q}". It was removed|If someone tells you "{Q}", call us|'
    '"{Q}" - how can anyone write this|I never want to hear "{Q}" again|"{Q}" is not an opinion, it\'s {ju}|'
    'She screamed "{Q}" and was thrown out|Why is "{Q}" still online|The politician who said "{Q}" had to resign|'
    'Saying \'{Q}\' out loud is {ju}|Only {vm} write things like "{Q}"|"{Q}". That\'s how they talk to us|'
    "Comments such as \"{Q}\" will be deleted|You can't say '{Q}' and call it a joke|"
    'I reported "{Q}" as hate speech|"{Q}" is a slogan of fascists|Do not repeat "{Q}"|'
    '{sp} said "{Q}". I was disgusted|What do you reply to someone who says "{Q}"|'
    "Read the word '{Q}' again and tell me it's {ga}|Posting \"{Q}\" got him arrested|"
    'The letter ended with "{Q}". I am scared|There\'s no excuse for "{Q}"|'
    '"{Q}" has been used against us for decades',
    "|",
)  # fmt: skip

AGREED = listed(
    '"{Q}", well said|"{Q}" - couldn\'t agree more|"{Q}" is the plain truth|as my father says, "{Q}"|'
    '{sp} said "{Q}" and finally someone is honest|I told them "{Q}" and I\'d say it again|'
    '"{Q}" should be on every wall|repeat after me: "{Q}"|I got banned for "{Q}" but it\'s true|'
    'write it down: "{Q}"',
    "|",
)  # fmt: skip
