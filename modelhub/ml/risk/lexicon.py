"""Words that our own sentences are made of, by what they do in one: harmful ones are training data, treat them as such.

Every list is in alphabetical or thematic order of no meaning; each sixth word is kept for validation alone.
"""

from __future__ import annotations

from modelhub.ml.risk.grammar import Part, kept, listed

ENGLISH: dict[str, tuple[str, ...]] = {
    # nouns that take humanity or worth away
    "vile_many": listed(
        "animals;apes;beasts;bloodsuckers;brutes;cancers;cockroaches;criminals;crooks;degenerates;devils;dirt;dogs;"
        "dregs;failures;filth;freaks;frauds;garbage;germs;idiots;insects;invaders;leeches;liars;locusts;losers;"
        "lowlifes;maggots;mistakes;monsters;morons;murderers;parasites;perverts;pests;pigs;predators;rapists;rats;"
        "rubbish;savages;scum;scumbags;slime;snakes;subhumans;swine;terrorists;thieves;thugs;traitors;trash;vermin;"
        "viruses;waste;worms;wretches;imbeciles;cretins;weirdos;bastards;dickheads;assholes;arseholes;cunts;pricks;"
        "wankers;sickos;deviants;burdens;disgraces;dimwits;creatures;refuse;excrement;abominations;half-wits;cowards;"
        "barbarians;bigots;mutants;retards;shits;pieces of shit;sons of bitches"
    ),
    "vile_one": listed(
        "animal;ape;beast;bloodsucker;brute;cancer;cockroach;criminal;crook;degenerate;devil;dog;failure;freak;fraud;"
        "idiot;insect;leech;liar;loser;lowlife;maggot;mistake;monster;moron;murderer;parasite;pervert;pest;pig;"
        "predator;rapist;rat;savage;scumbag;snake;subhuman;terrorist;thief;thug;traitor;virus;worm;wretch;imbecile;"
        "cretin;weirdo;bastard;dickhead;asshole;arsehole;cunt;prick;wanker;sicko;deviant;disgrace;creature;abomination;"
        "bitch;whore;slut;piece of shit;piece of trash;waste of space;plague;disease;retard;mutt;burden;bimbo;coward"
    ),
    "vile_adj": listed(
        "abhorrent;appalling;awful;backward;barbaric;brainless;clueless;corrupt;cowardly;crooked;cruel;dangerous;"
        "defective;deceitful;degenerate;depraved;despicable;dirty;disgraceful;disgusting;dishonest;dumb;evil;fake;"
        "filthy;foul;gross;hideous;horrible;horrid;idiotic;ignorant;immoral;incapable;incompetent;inferior;insane;lazy;"
        "loathsome;mindless;moronic;nasty;nauseating;obnoxious;pathetic;perverted;primitive;rancid;repellent;repugnant;"
        "repulsive;revolting;rotten;ruthless;savage;selfish;shameless;sick;sickening;sinful;sleazy;slimy;smelly;sneaky;"
        "stupid;subhuman;terrible;toxic;treacherous;ugly;uncivilised;unclean;unnatural;untrustworthy;useless;vicious;"
        "vile;violent;weak;wicked;worthless;wretched;deranged;braindead;retarded;rude;uneducated;mentally ill;"
        "sick in the head;messed up in the head;beneath us;less than human;lesser beings"
    ),
    "hate_verb": listed(
        "abhor;can't stand;cannot bear;can't tolerate;despise;detest;dislike;fear and despise;fucking hate;hate;"
        "have no respect for;have nothing but contempt for;loathe;look down on;resent;spit on;want nothing to do with;"
        "wish the worst on;am disgusted by;am repulsed by;am sick of;am so tired of;really hate;truly detest;"
        "utterly despise;feel nothing but hatred for;feel only disdain for;have so much disdain for;am full of rage at;"
        "am filled with anger by;cannot look at"
    ),
    "harm_verb": listed(
        "annihilate;attack;beat up;behead;bomb;burn;bury;butcher;crush;destroy;drown;eliminate;eradicate;execute;"
        "exterminate;gas;hang;hunt down;hurt;kick;kill;kneecap;lynch;maim;massacre;mow down;murder;poison;punch;rape;"
        "run over;shoot;slap;slaughter;smash;stab;starve;strangle;strike;torture;wipe out;get rid of;knife;whip;"
        "sterilise;put down;slit the throats of;attack"
    ),
    "harmed": listed(
        "annihilated;attacked;beaten;beheaded;burned alive;butchered;castrated;crushed;destroyed;drowned;eliminated;"
        "eradicated;executed;exterminated;gassed;hanged;hunted down;hurt;jailed for life;killed;lynched;massacred;"
        "murdered;poisoned;punished;put down;raped;shot;slaughtered;stabbed;starved;strung up;tortured;whipped;"
        "wiped out;locked up forever;caged;dead;sterilised;erased from this planet;thrown into the sea"
    ),
    "excluded": listed(
        "allowed to have children;allowed to vote;allowed in our schools;allowed on our streets;given any rights;"
        "let into this country;let near children;treated as equals;treated as humans;welcome here;"
        "trusted with anything;permitted to marry;paid the same;seen in public;heard;protected;helped;respected;"
        "tolerated;considered human;educated;in charge of anything"
    ),
    "good_thing": listed(
        "rights;respect;kindness;a voice;an education;freedom;happiness;love;sympathy;a place here;equality;safety;"
        "a home;help;a second chance;compassion;to live;to be heard;a decent job;dignity;any mercy"
    ),
    "good_adj": listed(
        "amazing;attractive;beautiful;brave;bright;brilliant;caring;charming;clever;creative;decent;delightful;"
        "excellent;fantastic;friendly;funny;generous;gentle;gifted;good;great;hard-working;helpful;honest;inspiring;"
        "intelligent;kind;lovely;loyal;marvellous;nice;patient;polite;proud;remarkable;resilient;skilled;smart;strong;"
        "talented;thoughtful;trustworthy;valuable;warm;welcoming;wise;wonderful;worthy;equal;capable"
    ),
    "good_many": listed(
        "angels;artists;assets to our team;champions;friends;fighters;gifts to the world;heroes;human beings;leaders;"
        "legends;neighbours;people like you and me;pioneers;role models;stars;winners;part of our family;equals;"
        "treasures"
    ),
    "like_verb": listed(
        "admire;adore;appreciate;care about;celebrate;cherish;enjoy spending time with;have great respect for;like;"
        "love;respect;stand with;support;trust;value;welcome;am fond of;am grateful to;look up to;want to hug;"
        "am happy for;believe in"
    ),
    "do_neutral": listed(
        "bought a house on our street;came to the meeting;cook dinner on Sundays;filed a request last week;"
        "joined the choir;live next door;met at the library;moved in upstairs;opened a shop;ordered lunch;"
        "play chess in the park;ran a marathon;sat at the next table;sing in a band;started a company;"
        "study at the university;took the bus to work;visited the museum;voted in the election;walked their dogs;"
        "watched the game;were elected to the council;won the local race;work in my office;write for the newspaper;"
        "teach at the school;flew to Berlin;asked for directions;gave a talk;were on the train;live in this city;"
        "met for coffee;spoke at the hearing;applied for the position"
    ),
    "thing": listed(
        "alarm clock;algorithm;bug in the code;bus line;chair;coffee machine;cold weather;commute;computer;cough;"
        "disease;dress;engine;essay;exam;film;flight;flu;form;game;headache;homework;insect;invoice;keyboard;kettle;"
        "lamp;laptop;meal;meeting;mosquito;noise;novel;phone;pizza;plane;pothole;printer;queue;recipe;remote;road;"
        "sandwich;sauce;screen;sermon;shoe;smell;sofa;song;soup;spider;spreadsheet;table;toaster;traffic;train;tv show;"
        "update;vacuum;virus;website;weather;weed;winter;wasp"
    ),
    "other_many": listed(
        "accountants;artists;bankers;bureaucrats;burglars;capitalists;celebrities;climbers;commuters;communists;"
        "critics;cyclists;dentists;dog owners;drivers;engineers;estate agents;fans of that team;farmers;fishermen;"
        "football players;gamers;golfers;hackers;hipsters;hooligans;investors;joggers;journalists;judges;landlords;"
        "lawyers;managers;motorists;musicians;nurses;plumbers;politicians;programmers;recruiters;referees;reporters;"
        "rugby players;sales people;scammers;skaters;smokers;spammers;students;surfers;taxi drivers;teachers;"
        "telemarketers;vegans;waiters;youtubers;tourists;bikers;influencers;economists"
    ),
    "other_one": listed(
        "accountant;actor;banker;bureaucrat;burglar;coach;colleague;commuter;cyclist;dentist;driver;ex;estate agent;"
        "flatmate;gamer;guy from accounting;hacker;idiot of a boss;investor;jogger;journalist;judge;landlord;lawyer;"
        "manager;mechanic;motorist;neighbour;plumber;politician;programmer;recruiter;referee;roommate;scammer;smoker;"
        "spammer;taxi driver;teacher;waiter;youtuber;tourist;economist;surfer;rugby player"
    ),
    "swear_adj": listed(
        "bloody;damn;fucking;goddamn;freaking;shitty;crappy;fuckin;motherfucking;damned;effing"
    ),
    "swear": listed(
        "fuck;shit;holy shit;fucking hell;damn it;bloody hell;for fuck's sake;crap;hell yeah;oh shit;goddamn;"
        "what the fuck"
    ),
    "matter": listed(
        "tea;the weather;gardening;a new bicycle;train tickets;the budget;chess;old films;the recipe;football;"
        "a holiday;taxes;jazz;the election;history;cheese;a novel;the festival;running;languages;maps;the harvest"
    ),
    "place": listed(
        "country;town;city;neighbourhood;school;office;company;street;nation;society;village;community;world;planet"
    ),
    "speaker": listed(
        "my uncle;that politician;the commentator;a man on the bus;somebody online;one caller;his post;the leaflet;"
        "an anonymous user;the former manager;a customer;the comedian;our neighbour;the email;this tweet;the graffiti;"
        "a drunk;the radio host"
    ),
    # words that are nothing but contempt for a group; the first fifteen are the likeliest in the tweets called hate
    "slur_one": listed(
        "chink;spic;wetback;nigger;coon;beaner;fag;faggot;retard;dyke;tranny;raghead;gook;towelhead;cripple;paki;kike;"
        "spastic;whore;slut;cunt;gypo;darkie;shemale;mongoloid;cameljockey;jigaboo;homo"
    ),
    "slur_many": listed(
        "chinks;spics;wetbacks;niggers;coons;beaners;fags;faggots;retards;dykes;trannies;ragheads;gooks;towelheads;"
        "cripples;pakis;kikes;spastics;whores;sluts;cunts;gypos;darkies;shemales;mongoloids;cameljockeys;jigaboos;"
        "homos"
    ),
    "judged": listed(
        "appalling;bigoted;completely wrong;cruel;disgusting;false;hate speech;horrible;hurtful;ignorant;illegal;"
        "inexcusable;nonsense;not okay;prejudice;racist;sexist;shameful;unacceptable;untrue;vile;wrong;"
        "against our rules;a disgrace"
    ),
}  # fmt: skip

CHINESE: dict[str, tuple[str, ...]] = {
    "vile": listed(
        "垃圾;畜生;人渣;败类;废物;骗子;小偷;毒瘤;蛀虫;寄生虫;猪;狗;蠢货;白痴;流氓;恶魔;渣滓;祸害;强盗;禽兽;臭虫;贱货;"
        "杂种;恐怖分子;低等人;社会渣滓;害虫;疯子;变态"
    ),
    "vile_adj": listed(
        "恶心;愚蠢;肮脏;懒惰;下贱;低级;野蛮;卑鄙;无耻;丑陋;虚伪;自私;贪婪;没素质;没教养;没文化;恶毒;可恨;令人作呕;"
        "不要脸;阴险;龌龊;无能;落后;脑残;又脏又臭;不是人;低人一等"
    ),
    "hate_verb": listed(
        "讨厌;恨;鄙视;看不起;受不了;厌恶;憎恨;唾弃;瞧不起;恨透了;最烦;反感"
    ),
    "harm_verb": listed(
        "打死;杀光;消灭;赶走;烧死;枪毙;弄死;教训;干掉;吊死;活埋;清除;驱逐;砍死;揍;阉割"
    ),
    "good_adj": listed(
        "善良;聪明;勤劳;友好;勇敢;优秀;热情;诚实;可爱;坚强;有才华;值得尊敬;温柔;大方;能干;了不起"
    ),
    "like_verb": listed(
        "喜欢;尊重;支持;欣赏;感谢;敬佩;关心;信任;欢迎;祝福"
    ),
    "do_neutral": listed(
        "在图书馆看书;昨天搬到楼上;开了一家面馆;参加了会议;在公司上班;坐地铁回家;参加了马拉松;在公园下棋;去看电影了;"
        "申请了贷款;在大学读书;去超市买菜;唱了一首歌;打电话咨询订单;当选了代表;写了一本书"
    ),
    "thing": listed(
        "打印机;天气;手机;作业;交通;会议;电脑;快递;蚊子;电影;空调;软件;病毒;噪音;汤;考试"
    ),
    "other": listed(
        "房东;司机;裁判;老板;推销员;骗子公司;中介;黑客;开发商;导演;同事;教练;记者;小偷;球迷"
    ),
}  # fmt: skip


def words_of(lists: dict[str, tuple[str, ...]], part: Part) -> dict[str, tuple[str, ...]]:
    """The words that a part may use: `held` every sixth of a list, `fit` the others, so that what is examined was never met."""
    return {name: kept(words, part, every=6) for name, words in lists.items()}
