"""Makes tests/fixtures/embed/texts.jsonl: 1,000 texts of 3 to 256 tokens ([CLS] and [SEP] included) for comparing embeddings.

Everything is composed here from word lists of our own: sentences from templates, fragments in many scripts, numbers, program
text, addresses and plain punctuation. The seed is fixed, so the file is the same wherever it is made. Lengths are counted by
MiniLM's tokenizer; they are spread evenly, and the last 30 texts have exactly 256 tokens.

    python texts.py [--model FOLDER] [--output FILE]
"""
import argparse
import json
import pathlib
import random

import folders

COUNT, LONGEST, EXACTLY_LONGEST, SHORTEST = 1000, 256, 30, 3

PEOPLE = """the archivist|a young printer|the lighthouse keeper|our neighbour|the night nurse|an old surveyor|the choir|two clerks
the committee|a retired pilot|the botanist|my grandmother|the ferryman|a visiting judge|the apprentice|the town council""".replace("\n", "|").split("|")
VERBS = """repaired|described|misplaced|weighed|catalogued|painted|measured|sold|translated|questioned|copied|photographed|returned
defended|abandoned|inspected|recorded|borrowed|counted|restored""".replace("\n", "|").split("|")
THINGS = """the tide tables|a brass telescope|seven ledgers|the eastern bridge|an unsigned letter|the water meter|every map of the delta
a crate of seed potatoes|the parish register|the broken turbine|her notes on moss|the insurance claim|a row of poplars
the minutes of the meeting|the anaesthetic log|a box of glass negatives|the tax return|the harbour lights|an early dictionary
the quarterly balance sheet|the patient's chart|the firmware of the pump|a contract for wool""".replace("\n", "|").split("|")
PLACES = """in the reading room|near the canal|behind the old mill|at the county court|on the upper deck|under the clock tower
across the valley|in a rented office|by the northern gate|aboard the night train|in ward seven|on the market square""".replace("\n", "|").split("|")
TIMES = """before dawn|on the last Friday of March|in 1911|after the flood|during the audit|twice a year|without any warning|for eleven days
when the snow melted|shortly after noon|until the lamp went out|in the third quarter""".replace("\n", "|").split("|")
REASONS = """because the ink had faded|although nobody had asked|so that the claim could be settled|since the roof leaked
while the others slept|as the rules required|in spite of the cost|if only to settle an argument|and said nothing about it
which surprised everyone|but the numbers did not agree|whatever the lawyers might say""".replace("\n", "|").split("|")
RARE = """phenylketonuria|isochronous|palimpsest|electroencephalography|quasicrystalline|counterrevolutionary|Llanfairpwll|zoonosis
deoxyribonucleic|otorhinolaryngologist|Schadenfreude|naïveté|façade|jalapeño|Ångström|coöperate|x86-64|utf8|snake_case|camelCase
ACE2|COVID-19|mRNA|H₂SO₄|E=mc²|№7|½|３倍|ﬁnancial|Ⅷ|™|…""".replace("\n", "|").split("|")
FRAGMENTS = """Der Zug nach Norden fährt heute nicht, weil die Brücke geprüft wird.
Où est la clé du grenier ? Elle était près de l'horloge.
¿Quién dejó abierta la ventana del laboratorio? ¡Nadie lo sabe!
A água do poço não é potável; use a torneira da cozinha.
Il treno è già partito, ma il capostazione aspetta ancora.
De sleutel ligt onder de mat naast de blauwe deur.
Går vi över bron eller tar vi färjan i morgon?
Książki leżą na półce, a żółty kot śpi obok.
Příliš dlouhá zima zničila úrodu v celém kraji.
Az öreg híd alatt lassan folyik a zöld víz.
Bu akşam çarşıda eski kitaplar satılıyor.
Con mèo ngủ trên mái nhà suốt buổi chiều.
Старый мост закрыт до весны, идите через парк.
Сьогодні ввечері буде дощ, візьміть парасольку.
Το παλιό λιμάνι είναι ήσυχο τον χειμώνα.
הספרייה סגורה היום בגלל השלג.
المكتبة مغلقة اليوم بسبب المطر الغزير.
کتابخانه امروز تا ساعت هشت باز است.
पुराना पुल बारिश के बाद बंद कर दिया गया।
পুরানো সেতুটি বর্ষার পরে বন্ধ থাকবে।
பழைய பாலம் மழைக்குப் பிறகு மூடப்பட்டது.
สะพานเก่าปิดหลังจากฝนตกหนัก
图书馆今天因为大雪关门了。
古い橋は春まで通れません。
カタカナとひらがなと漢字が混ざった文です。
오래된 다리는 봄까지 닫혀 있습니다.
ძველი ხიდი გაზაფხულამდე დაკეტილია.
Հին կամուրջը փակ է մինչև գարուն։
የድሮው ድልድይ እስከ ጸደይ ድረስ ተዘግቷል።
🙂 the bridge is open 🌉🚂 — at last! 👩‍🔬🇸🇪
Ａ ｆｕｌｌ ｗｉｄｔｈ ｌｉｎｅ，１２３""".split("\n")
CODE = """for (size_t i = 0; i < count; i++) sum += values[i] * weights[i];
def mean(xs): return sum(xs) / len(xs) if xs else 0.0
SELECT name, COUNT(*) FROM loans WHERE due < '2024-01-01' GROUP BY name;
<p class="note">See &sect; 4.2 &amp; the appendix.</p>
{"id": 17, "tags": ["map", "delta"], "open": false, "ratio": 0.375}
git log --oneline -n 20 | cut -c1-7 | sort -u
if err != nil { return fmt.Errorf("open %q: %w", path, err) }
#include <stdio.h> /* printf */
C:\\Users\\clerk\\notes (copy).txt
https://example.org/maps?id=42&layer=tides#north
\\frac{a+b}{\\sqrt{2}} \\leq \\int_0^1 f(x)\\,dx""".split("\n")
PUNCTUATION = ["?!", "...", "—", "«»", "( [ { } ] )", "*** *** ***", "-----", "a/b/c", "$ € £ ¥ ₹", "~ ^ ` | \\", "\"quoted\"", "'s 't 're",
               "“curly” ‘quotes’", "¶ § † ‡ •", "+-×÷=≠≈", "&&||!", "@name #tag", "%d %s %%", "。、「」", "！？"]


def sentence(rng):
    parts = [rng.choice(PEOPLE), rng.choice(VERBS), rng.choice(THINGS)]
    for choices in (PLACES, TIMES, REASONS):
        if rng.random() < 0.55:
            parts.append(rng.choice(choices))
    text = " ".join(parts)
    return text[0].upper() + text[1:] + rng.choice(".....!?;")


def numbers(rng):
    shapes = [lambda: str(rng.randrange(10)), lambda: f"{rng.randrange(10**7):,}", lambda: f"{rng.random():.6f}",
              lambda: f"{rng.randrange(1850, 2050)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}",
              lambda: f"{rng.randrange(24):02}:{rng.randrange(60):02}", lambda: f"{rng.random() * 1e6:.3e}",
              lambda: f"0x{rng.randrange(2**32):08x}", lambda: f"+{rng.randrange(100)} {rng.randrange(10**9)}", lambda: f"{rng.randrange(1000)} %"]
    return " ".join(rng.choice(shapes)() for _ in range(rng.randrange(1, 12)))


def rare_words(rng):
    return " ".join(rng.choice(RARE) for _ in range(rng.randrange(1, 6)))


KINDS = [(sentence, 10), (numbers, 2), (rare_words, 2), (lambda rng: rng.choice(FRAGMENTS), 4), (lambda rng: rng.choice(CODE), 2),
         (lambda rng: rng.choice(PUNCTUATION), 1)]


def piece(rng, favourite):
    """One piece of text; most pieces of one text are of its favourite kind, so that pure and mixed texts both occur."""
    if rng.random() < 0.7:
        return favourite(rng)
    return rng.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])[0](rng)


def text_of(rng, length, count):
    """A text of at most `length` tokens that comes as near to it as whole words allow."""
    favourite = rng.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])[0]
    separator = rng.choices([" ", "\n", "  ", "\t"], [20, 2, 1, 1])[0]
    text = piece(rng, favourite)
    while count(text) < length:
        text += separator + piece(rng, favourite)
    if rng.random() < 0.05:
        text = text.upper()
    while count(text) > length and " " in text:
        text = text.rsplit(" ", 1)[0]
    while count(text) > length:
        text = text[:-1]
    return text


def exact_text(rng, length, count):
    text = text_of(rng, length, count).rstrip()
    while count(text) < length:
        text += " a"
    return text


def make(tokenizer, path):
    rng = random.Random(20240229)
    count = lambda text: len(tokenizer.encode(text).ids)
    lengths = [SHORTEST + (LONGEST - SHORTEST) * i // (COUNT - EXACTLY_LONGEST - 1) for i in range(COUNT - EXACTLY_LONGEST)]
    rng.shuffle(lengths)
    texts = [text_of(rng, length, count) or "a" for length in lengths]
    texts += [exact_text(rng, LONGEST, count) for _ in range(EXACTLY_LONGEST)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as out:
        for number, text in enumerate(texts):
            out.write(json.dumps({"id": number, "text": text}, ensure_ascii=False) + "\n")
    counts = [count(text) for text in texts]
    print(f"{path}: {COUNT} texts, {min(counts)} to {max(counts)} tokens, {sum(counts)} in all, {path.stat().st_size} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, default=folders.minilm())
    parser.add_argument("--output", type=pathlib.Path, default=folders.FIXTURES / "embed/texts.jsonl")
    arguments = parser.parse_args()
    make(folders.tokenizer(arguments.model), arguments.output)


if __name__ == "__main__":
    main()
