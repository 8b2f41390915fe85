"""The closed domain of the tiny checkpoint: which sentences exist.

Owns the vocabulary and the sentence patterns, and the split of sentences into training and test. Knows nothing of sound.
Every sentence is lower case, without punctuation, and speaks numbers as words; a spelled letter is a word of one letter.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from functools import partial

TEST_SHARE = 20  # one sentence in twenty is kept for tests


def words(text: str) -> list[str]:
    """The words of a list written as one line."""
    return text.split()


def phrases(text: str) -> list[str]:
    """The phrases of a list, separated by bars; line breaks and indentation do not count."""
    return "".join(line.strip() for line in text.splitlines()).split("|")


ONES = words("zero one two three four five six seven eight nine")
TEENS = words("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")
ORDINAL_ONES = words("first second third fourth fifth sixth seventh eighth ninth")
ORDINAL_TEENS = words(
    "tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth"
)
MONTHS = words("january february march april may june july august september october november december")
DAYS = words("monday tuesday wednesday thursday friday saturday sunday")
LETTERS = "abcdefghijklmnopqrstuvwxyz"

CITIES = words(
    "london paris berlin madrid rome boston chicago denver dallas seattle tokyo moscow vienna dublin oslo sydney "
    "toronto pittsburgh brussels lisbon prague cairo delhi athens"
)
PLACES = phrases(
    "station|airport|hotel|museum|library|hospital|school|market|bank|park|office|restaurant|church|beach|post office|"
    "bus stop|train station|city center|old bridge|theater|river|garden|house|bakery|supermarket"
)
ROOMS = phrases("kitchen|bedroom|living room|bathroom|office|garden|hall|garage|basement")
NAMES = words(
    "anna peter mary john david sarah michael laura thomas emma james lucy robert susan daniel helen mark julia paul "
    "alice kate tom jack mike andy betty tim nancy henry olivia margaret steven chris nelson jenny"
)
SPELLED = words(
    "smith jones brown taylor wilson walker wright green baker cooper morgan young allen king scott turner parker "
    "collins stewart morris rogers reed cook bell murphy bailey rivera kelly howard ward peterson gray ramirez "
    "watson brooks sanders price bennett wood barnes ross henderson coleman jenkins perry powell long patterson "
    "hughes flores washington butler simmons foster bryant alexander griffin diaz hayes quinn fox vincent maxwell "
    "xavier zimmer jacques quebec phoenix oxford main elm oak maple forbes fifth center liberty shady squirrel "
    "murray beechwood craig melwood penn ohio texas nevada kansas florida maine utah"
)
THINGS = phrases(
    "book|phone|car|bag|key|ticket|letter|bottle|chair|table|computer|camera|bicycle|coat|hat|watch|lamp|picture|box|"
    "cup|dress|shirt|umbrella|newspaper|map|guitar|piano|ball|clock|window|door|radio|television|suitcase|passport"
)
FOODS = phrases(
    "bread|milk|cheese|coffee|tea|water|rice|soup|salad|chicken|fish|apples|oranges|bananas|eggs|butter|sugar|pizza|"
    "chocolate|ice cream|potatoes|tomatoes|orange juice|red wine|a sandwich|cake"
)
COLORS = words("red blue green yellow black white brown gray orange purple pink")
ADJECTIVES = words(
    "big small old new long short heavy light clean beautiful expensive cheap broken empty open little"
)
FEELINGS = words("happy tired hungry thirsty sick busy ready late early sorry sure afraid alone fine")
WEATHER = words("sunny rainy cloudy windy cold warm hot dry wet snowy foggy nice")
DEVICES = phrases("light|lights|radio|television|heating|fan|alarm|music|camera|oven|computer|door bell")
JOBS = words(
    "doctor teacher driver farmer lawyer nurse student cook singer writer engineer baker pilot manager"
)
FAMILY = words("mother father brother sister son daughter wife husband friend uncle aunt boss neighbor")
ANIMALS = words("dog cat horse bird cow sheep fish rabbit mouse lion monkey bear")
WHEN = phrases(
    "today|tomorrow|tonight|this morning|this afternoon|this evening|next week|next month|next year|now|later|soon|"
    "again|on the weekend|every day|after lunch|before dinner|at night"
)
PAST = phrases(
    "yesterday|last night|last week|last month|last year|this morning|two days ago|a long time ago"
)
ACTIONS = phrases(
    "read the newspaper|drink some coffee|go to work|play the piano|learn english|work in the garden|walk in the park|"
    "write a letter|cook dinner|clean the kitchen|watch television|eat some soup|go for a walk|talk to the boss|"
    "look for the key|help my mother|drive to the city|sleep late|listen to music|go swimming|stay at home|run fast"
)
PRONOUNS = words("i you we they")
THIRD = words("he she")

FIXED = tuple(
    phrases(
        """yes|no|go|stop|help|start|repeat|hello|good morning|good evening|good night|goodbye|thank you|thank you very much
    |please help me|see you soon|see you tomorrow|how are you|how are you today|i am fine thank you|what time is it|what is your name
    |where are you from|i do not know|i do not understand|can you help me|can you repeat that please|please speak slowly
    |excuse me|i am sorry|you are welcome|that is right|that is wrong|nice to meet you|wait a moment please|come here
    |go away|sit down please|stand up|be quiet|look at this|listen to me|what is this|who are you|why not|of course
    |not now|maybe later|let us go|i love you|have a nice day|what is the weather like today|turn left|turn right|go back
    |enter|erase|rubout|cancel|continue|play|pause|record|save|undo|one moment please|that is enough|what do you want
    |where is it|how much is it|i want to go home|it is too late|never mind|are you ready|i am ready|take care"""
    )
)

Pattern = Callable[[random.Random], str]


def below_hundred(rng: random.Random) -> str:
    """A whole number from one to ninety nine."""
    kind = rng.random()
    if kind < 0.2:
        return rng.choice(ONES[1:])
    if kind < 0.4:
        return rng.choice(TEENS)
    tens = rng.choice(TENS)
    return tens if rng.random() < 0.2 else f"{tens} {rng.choice(ONES[1:])}"


def number(rng: random.Random) -> str:
    """A number of people, miles or the like."""
    kind = rng.random()
    if kind < 0.5:
        return below_hundred(rng)
    joint = " and " if rng.random() < 0.4 else " "
    hundreds = f"{rng.choice(ONES[1:])} hundred"
    if kind < 0.75:
        return hundreds if rng.random() < 0.2 else f"{hundreds}{joint}{below_hundred(rng)}"
    thousands = f"{below_hundred(rng)} thousand"
    if kind < 0.95:
        return thousands if rng.random() < 0.2 else f"{thousands} {hundreds}{joint}{below_hundred(rng)}"
    return f"{rng.choice(ONES[1:])} million"


def digits(rng: random.Random, low: int = 2, high: int = 7) -> str:
    """Digits one by one; zero is `zero` or `oh` throughout."""
    zero = rng.choice(["zero", "oh"])
    return " ".join(
        zero if d == 0 else ONES[d] for d in (rng.randrange(10) for _ in range(rng.randint(low, high)))
    )


def pairs(rng: random.Random) -> str:
    """A house or code number spoken in twos: twelve fifty eight."""
    parts = [below_hundred(rng) for _ in range(rng.randint(1, 3))]
    if rng.random() < 0.3:
        parts.insert(rng.randrange(len(parts) + 1), f"oh {rng.choice(ONES[1:])}")
    if rng.random() < 0.3:
        parts.insert(0, rng.choice(ONES[1:]))
    return " ".join(parts)


def ordinal(rng: random.Random) -> str:
    """A day of the month."""
    kind = rng.random()
    if kind < 0.35:
        return rng.choice(ORDINAL_ONES)
    if kind < 0.65:
        return rng.choice(ORDINAL_TEENS)
    if kind < 0.8:
        return rng.choice(["twentieth", "thirtieth"])
    return "thirty first" if rng.random() < 0.1 else f"twenty {rng.choice(ORDINAL_ONES)}"


def year(rng: random.Random) -> str:
    """A year."""
    if rng.random() < 0.3:
        return f"two thousand {rng.choice(['and ', ''])}{below_hundred(rng)}"
    return f"{rng.choice(['nineteen', 'nineteen', 'twenty', 'eighteen'])} {below_hundred(rng)}"


def date(rng: random.Random) -> str:
    """A date in one of four styles."""
    month = rng.choice(MONTHS)
    kind = rng.random()
    if kind < 0.35:
        return f"{month} {ordinal(rng)} {year(rng)}"
    if kind < 0.6:
        return f"{month} {ordinal(rng)}"
    if kind < 0.8:
        return f"the {ordinal(rng)} of {month}"
    return f"{rng.choice(DAYS)} {month} {below_hundred(rng)} {year(rng)}"


def clock(rng: random.Random) -> str:
    """A time of day."""
    hour = rng.choice(ONES[1:] + TEENS[:3])
    kind = rng.random()
    if kind < 0.3:
        return f"{hour} o'clock"
    if kind < 0.5:
        return (
            f"{rng.choice(['half past', 'a quarter past', 'a quarter to', 'ten past', 'twenty to'])} {hour}"
        )
    minute = rng.choice(TEENS + TENS[:4] + [f"{t} {o}" for t in TENS[:4] for o in ONES[1:]] + ["oh five"])
    return f"{hour} {minute} {rng.choice(['', '', 'a m', 'p m'])}".strip()


def price(rng: random.Random) -> str:
    """An amount of money."""
    unit = rng.choice(["dollars", "dollars", "pounds", "euros"])
    if rng.random() < 0.4:
        return f"{below_hundred(rng)} {unit} and {below_hundred(rng)} cents"
    return f"{number(rng)} {unit}"


def spelled(rng: random.Random, low: int = 2, high: int = 8) -> str:
    """A spelled name or random letters."""
    kind = rng.random()
    if kind < 0.35:
        return " ".join(rng.choice(SPELLED + NAMES))
    if kind < 0.6:
        return " ".join(_pronounceable(rng))
    return " ".join(rng.choice(LETTERS) for _ in range(rng.randint(low, high)))


def _pronounceable(rng: random.Random) -> str:
    syllables = rng.randint(2, 4)
    consonants = "bcdfghklmnprstvwyzjqx"
    return "".join(
        rng.choice(consonants)
        + rng.choice("aeiou")
        + rng.choice(["", "", "n", "r", "l", "s", "t", "ck", "ll", "h"])
        for _ in range(syllables)
    )


def form(rng: random.Random) -> str:
    """Census answers and editor commands as spoken in CMU AN4."""
    command = rng.choice(["enter", "erase", "rubout", "enter", "repeat", "start", "stop"])
    return rng.choice(
        [
            lambda: f"{command} {number(rng)}",
            lambda: (
                f"{command} {spelled(rng, 3, 6)} {rng.choice([digits(rng, 1, 4), pairs(rng), number(rng)])}"
            ),
            lambda: f"{spelled(rng, 1, 4)} {digits(rng, 1, 4)}",
            partial(pairs, rng),
            lambda: f"{digits(rng, 3, 5)} {rng.choice([*PLACES[:4], 'street', 'avenue', 'road'])}",
            lambda: f"{digits(rng, 2, 4)} {spelled(rng)}",
            lambda: f"area code {digits(rng, 3, 3)}",
            lambda: f"{below_hundred(rng)} and a half",
        ]
    )()


def phone(rng: random.Random) -> str:
    """A telephone number."""
    lead = rng.choice(["my phone number is", "call", "please call", "the number is", "his number is", "dial"])
    return f"{lead} {digits(rng, 5, 8)}"


def appointment(rng: random.Random) -> str:
    """Meetings, alarms, birthdays."""
    event = rng.choice(
        phrases("meeting|party|train|concert|class|film|game|dinner|flight|bus|show|lesson|wedding")
    )
    verb = rng.choice(["is", "starts", "begins", "was", "ends"])
    return rng.choice(
        [
            lambda: f"the {event} {verb} at {clock(rng)}",
            lambda: f"the {event} {verb} on {rng.choice([date(rng), rng.choice(DAYS)])}",
            lambda: f"the {event} to {rng.choice(CITIES)} leaves at {clock(rng)}",
            lambda: f"we have a {event} on {rng.choice(DAYS)} at {clock(rng)}",
            lambda: f"can you move the {event} to {clock(rng)} on {rng.choice(DAYS)}",
            lambda: f"remind me about the {event} {rng.choice(WHEN)}",
            lambda: f"wake me up at {clock(rng)} {rng.choice(WHEN[:3])}",
            lambda: f"when does the {event} start",
            lambda: f"my birthday is on {date(rng)}",
            lambda: f"today is {date(rng)}",
            lambda: f"it is {clock(rng)} in {rng.choice(CITIES)}",
            lambda: f"{rng.choice(NAMES)} was born on {date(rng)}",
        ]
    )()


def shopping(rng: random.Random) -> str:
    """Things, food and their prices."""
    thing, food = rng.choice(THINGS), rng.choice(FOODS)
    adjective, color = rng.choice(ADJECTIVES), rng.choice(COLORS)
    return rng.choice(
        [
            lambda: f"the {color} {thing} costs {price(rng)}",
            lambda: f"how much is the {adjective} {thing}",
            lambda: f"i paid {price(rng)} for the {thing}",
            lambda: f"that is {price(rng)} please",
            lambda: f"we need {food} and {rng.choice(FOODS)}",
            lambda: f"please buy {food} at the {rng.choice(PLACES)}",
            lambda: f"i would like {food} please",
            lambda: f"can i have {food} and {rng.choice(FOODS)}",
            lambda: f"do you have a {color} {thing}",
            lambda: f"this {thing} is too {adjective}",
            lambda: f"{rng.choice(NAMES)} wants to sell the {adjective} {thing} for {price(rng)}",
            lambda: f"the {thing} is {below_hundred(rng)} percent cheaper {rng.choice(WHEN)}",
            lambda: f"add {food} to my shopping list",
            lambda: (
                f"there are {number(rng)} {rng.choice(['people', 'books', 'cars', 'tickets', 'houses'])} in the {rng.choice(PLACES)}"
            ),
        ]
    )()


def travel(rng: random.Random) -> str:
    """Ways, tickets and places."""
    place, city = rng.choice(PLACES), rng.choice(CITIES)
    return rng.choice(
        [
            lambda: f"where is the {place}",
            lambda: f"how do i get to the {place}",
            lambda: f"the {place} is near the {rng.choice(PLACES)}",
            lambda: f"turn {rng.choice(['left', 'right'])} at the {place}",
            lambda: f"go straight to the {place} and then turn {rng.choice(['left', 'right'])}",
            lambda: f"i want to go to {city} {rng.choice(WHEN)}",
            lambda: f"we are going from {city} to {rng.choice(CITIES)}",
            lambda: f"a ticket to {city} please",
            lambda: f"how far is it from {city} to {rng.choice(CITIES)}",
            lambda: f"{rng.choice(NAMES)} lives in {city} near the {place}",
            lambda: f"it is {number(rng)} miles to {city}",
            lambda: f"the {place} opens at {clock(rng)} and closes at {clock(rng)}",
            lambda: f"i will wait for you at the {place}",
            lambda: f"room {digits(rng, 2, 3)} is on the {rng.choice(ORDINAL_ONES)} floor",
            lambda: (
                f"{number(rng)} {rng.choice(['main', 'park', 'station', 'market', 'river'])} {rng.choice(['street', 'road', 'avenue'])} {city}"
            ),
            lambda: (
                f"flight {digits(rng, 3, 4)} to {city} is {rng.choice(['late', 'early', 'ready', 'on time', 'full'])}"
            ),
            lambda: f"is there a {place} in this street",
        ]
    )()


def home(rng: random.Random) -> str:
    """Commands for the house."""
    device, room = rng.choice(DEVICES), rng.choice(ROOMS)
    state = rng.choice(["on", "off"])
    return rng.choice(
        [
            lambda: f"turn {state} the {device} in the {room}",
            lambda: f"please turn the {device} {state}",
            lambda: f"turn the {device} {state} at {clock(rng)}",
            lambda: f"set the {device} to {below_hundred(rng)} percent",
            lambda: f"set a timer for {below_hundred(rng)} {rng.choice(['minutes', 'seconds', 'hours'])}",
            lambda: str.strip(f"set an alarm for {clock(rng)} {rng.choice(['', rng.choice(WHEN[:2])])}"),
            lambda: f"{rng.choice(['open', 'close'])} the {rng.choice(['window', 'door'])} in the {room}",
            lambda: (
                f"play {rng.choice(['music', 'the radio', 'a song', 'the next song', 'the news'])} in the {room}"
            ),
            lambda: f"make it {rng.choice(['warmer', 'colder', 'louder', 'darker'])} in the {room}",
            lambda: f"it is {below_hundred(rng)} degrees in the {room}",
            lambda: f"is the {device} in the {room} {state}",
            lambda: f"send a message to {rng.choice(NAMES)}",
            lambda: f"call {rng.choice(NAMES)} {rng.choice(WHEN)}",
            lambda: (
                f"show me the {rng.choice(['pictures', 'news', 'map', 'list', 'messages'])} from {rng.choice(['yesterday', 'last week', rng.choice(DAYS), rng.choice(MONTHS)])}"
            ),
        ]
    )()


def weather(rng: random.Random) -> str:
    """Talk of the weather."""
    kind = rng.choice(WEATHER)
    return rng.choice(
        [
            lambda: (
                f"it will be {kind} and {rng.choice(WEATHER)} in {rng.choice(CITIES)} {rng.choice(WHEN[:6])}"
            ),
            lambda: f"the weather is {kind} {rng.choice(WHEN[:6])}",
            lambda: f"it was {kind} on {rng.choice(DAYS)}",
            lambda: f"will it rain in {rng.choice(CITIES)} {rng.choice(WHEN[:6])}",
            lambda: str.strip(f"it is {below_hundred(rng)} degrees {rng.choice(['', 'below zero'])}"),
            lambda: (
                f"there will be {rng.choice(['rain', 'snow', 'wind', 'sun'])} in the {rng.choice(['north', 'south', 'east', 'west'])} on {rng.choice(DAYS)}"
            ),
        ]
    )()


def people(rng: random.Random) -> str:
    """Family, names, animals and feelings."""
    name, family, third = rng.choice(NAMES), rng.choice(FAMILY), rng.choice(THIRD)
    owner = rng.choice(words("my your his her our their"))
    return rng.choice(
        [
            lambda: f"{owner} {family} is a {rng.choice(JOBS)}",
            lambda: f"{owner} {family} has {rng.choice(ONES[2:])} children",
            lambda: f"{name} is {below_hundred(rng)} years old",
            lambda: f"{third} is {rng.choice(FEELINGS)} {rng.choice(WHEN)}",
            lambda: f"{rng.choice(['we', 'you', 'they'])} are {rng.choice(FEELINGS)}",
            lambda: f"i am {rng.choice(FEELINGS)} {rng.choice(WHEN)}",
            lambda: f"why are you so {rng.choice(FEELINGS)}",
            lambda: f"{third} has a {rng.choice(COLORS)} {rng.choice(ANIMALS)}",
            lambda: f"the {rng.choice(ANIMALS)} is in the {rng.choice(ROOMS)}",
            lambda: f"my name is {name} and i am a {rng.choice(JOBS)}",
            lambda: f"{name} and {rng.choice(NAMES)} are in the {rng.choice(PLACES)}",
            lambda: f"{name} came home {rng.choice(PAST)}",
            lambda: f"where did {name} go {rng.choice(PAST)}",
            lambda: f"my name is {name} spelled {' '.join(name)}",
            lambda: f"i saw {owner} {family} at the {rng.choice(PLACES)} {rng.choice(PAST)}",
            lambda: f"{name} gave the {rng.choice(THINGS)} to {owner} {family}",
            lambda: (
                f"who is the {rng.choice(['man', 'woman', 'boy', 'girl', rng.choice(JOBS)])} with the {rng.choice(COLORS)} {rng.choice(THINGS)}"
            ),
        ]
    )()


def daily(rng: random.Random) -> str:
    """What people do and where things are."""
    who = rng.choice(PRONOUNS)
    thing, adjective = rng.choice(THINGS), rng.choice(ADJECTIVES)
    action = rng.choice(ACTIONS)
    return rng.choice(
        [
            lambda: f"{who} {action} {rng.choice(WHEN)}",
            lambda: (
                f"{who} {rng.choice(['want to', 'have to', 'like to', 'need to', 'can', 'should', 'will'])} {action}"
            ),
            lambda: (
                f"do you {rng.choice(['want to', 'have to', 'like to', 'need to'])} {action} {rng.choice(WHEN)}"
            ),
            lambda: (
                f"{rng.choice(THIRD + NAMES)} {rng.choice(['wants to', 'has to', 'likes to', 'will', 'can'])} {action}"
            ),
            lambda: f"where is {rng.choice(['my', 'your', 'his', 'her', 'our'])} {adjective} {thing}",
            lambda: f"i lost my {thing} {rng.choice(PAST)}",
            lambda: (
                f"the {thing} is {rng.choice(['on', 'under', 'near', 'behind'])} the {rng.choice(THINGS)}"
            ),
            lambda: (
                f"{who} do not {rng.choice(['like', 'need', 'want', 'see', 'know', 'remember'])} the {adjective} {thing}"
            ),
            lambda: (
                f"please {rng.choice(['give me', 'bring me', 'show me', 'take', 'find'])} the {rng.choice(COLORS)} {thing}"
            ),
            lambda: (
                f"what did you {rng.choice(['do', 'eat', 'buy', 'see', 'say', 'find'])} {rng.choice(PAST)}"
            ),
            lambda: (
                f"{rng.choice(['did', 'can', 'could', 'will'])} you {rng.choice(['find', 'see', 'open', 'sell', 'bring', 'use'])} the {thing}"
            ),
            lambda: (
                f"this is the {rng.choice(['first', 'last', 'best', 'same', 'wrong', 'right', 'only'])} {thing}"
            ),
            lambda: (
                f"i think that {rng.choice(THIRD)} {rng.choice(['is right', 'is wrong', 'is here', 'was there', 'will come back'])}"
            ),
            lambda: f"if it is {rng.choice(WEATHER)} {who} will {action}",
            lambda: f"{rng.choice(NAMES)} said that the {thing} was {adjective}",
        ]
    )()


def arithmetic(rng: random.Random) -> str:
    """Sums and amounts."""
    sign = rng.choice(["plus", "minus", "times", "divided by"])
    return rng.choice(
        [
            lambda: f"what is {number(rng)} {sign} {number(rng)}",
            lambda: f"{below_hundred(rng)} {sign} {below_hundred(rng)} is {number(rng)}",
            lambda: f"{number(rng)} point {digits(rng, 1, 2)}",
            lambda: f"page {number(rng)} chapter {below_hundred(rng)}",
            lambda: (
                f"{rng.choice(['about', 'more than', 'less than'])} {number(rng)} {rng.choice(['people', 'miles', 'days', 'years', 'minutes', 'hours', 'weeks', 'degrees'])}"
            ),
        ]
    )()


def fixed(rng: random.Random) -> str:
    """A stock phrase."""
    return rng.choice(FIXED)


PATTERNS: tuple[tuple[float, Pattern], ...] = (
    (3, number),
    (4, digits),
    (3, date),
    (1, clock),
    (6, spelled),
    (8, form),
    (3, phone),
    (9, appointment),
    (9, shopping),
    (10, travel),
    (8, home),
    (5, weather),
    (10, people),
    (10, daily),
    (5, arithmetic),
    (3, fixed),
)


def is_test_sentence(sentence: str) -> bool:
    """Whether a sentence belongs to the test split; decided by its hash alone. Stock phrases are always trained."""
    if sentence in FIXED:
        return False
    return int(hashlib.sha256(sentence.encode()).hexdigest(), 16) % TEST_SHARE == 0


def sentences(seed: int, *, test: bool) -> Iterator[str]:
    """Endless distinct sentences of one split (stock phrases come again and again)."""
    rng = random.Random(seed)
    weights = [weight for weight, _ in PATTERNS]
    seen: set[str] = set()
    while True:
        pattern = rng.choices(PATTERNS, weights)[0][1]
        sentence = pattern(rng)
        if is_test_sentence(sentence) is not test or (sentence in seen and sentence not in FIXED):
            continue
        seen.add(sentence)
        yield sentence
