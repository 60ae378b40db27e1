"""Training reads a conversation as the checkpoint's own chat template writes it, which is how it will be asked."""

import pytest

from modelhub.ml.adapters.causal import IGNORED, tiny
from modelhub.ml.adapters.chat_rows import by_template, rows_for, template_of

CHAT = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "machine 3 stands still"},
    {"role": "assistant", "content": "call the night shift"},
    {"role": "user", "content": "and machine 4"},
    {"role": "assistant", "content": "that one too"},
]
TEMPLATE = (
    "{% for m in messages %}{{ '<s>' + m.role + ':' + m.content + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant:' }}{% endif %}"
)
# as reasoning models do: only the last answer keeps its empty thought
THINKING = (
    "{% for m in messages %}{{ '<s>' + m.role + ':' }}{% if m.role == 'assistant' and loop.last %}{{ '<think></think>' }}"
    "{% endif %}{{ m.content + '</s>' }}{% endfor %}{% if add_generation_prompt %}{{ '<s>assistant:' }}{% endif %}"
)
STRICT = "{% if messages[0].role == 'system' %}{{ raise_exception('no system message here') }}{% endif %}x"


def checkpoint(folder, kind="tiny-qwen", template=TEMPLATE):
    """A small checkpoint in transformers' layout, its tokenizer of bytes with the template beside."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    spelt = Tokenizer(models.BPE(vocab={"</e>": 0} | {c: i + 1 for i, c in enumerate(alphabet)}, merges=[]))
    spelt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    spelt.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=spelt, eos_token="</e>")
    fast.chat_template = template
    tiny(kind).save_pretrained(folder)
    fast.save_pretrained(folder)
    return fast


def learned(fast, row):
    ids, labels = row
    assert all(label in (IGNORED, own) for own, label in zip(ids, labels, strict=True))
    return fast.decode([label for label in labels if label != IGNORED])


def test_the_templates_text_is_read_and_only_answers_are_learned(tmp_path):
    fast = checkpoint(tmp_path)
    (row,) = rows_for(str(tmp_path), [CHAT], 512)
    assert fast.decode(list(row[0])) == fast.apply_chat_template(CHAT, tokenize=False)
    assert learned(fast, row) == "call the night shift</s>that one too</s>"


def test_an_earlier_answer_that_is_written_otherwise_later_on_is_only_read(tmp_path):
    fast = checkpoint(tmp_path, template=THINKING)
    (row,) = rows_for(str(tmp_path), [CHAT], 512)
    assert learned(fast, row) == "<think></think>that one too</s>"


def test_the_prompt_is_encoded_apart_from_its_answer_as_a_server_does():
    write = lambda chat, asked: "".join(m["content"] for m in chat)  # noqa: E731
    calls = []
    by_template(
        write,
        lambda text: calls.append(text) or [1],
        [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "cd"}],
    )
    assert calls == ["ab", "cd"]


def test_what_a_template_refuses_is_told_in_its_words(tmp_path):
    checkpoint(tmp_path, template=STRICT)
    with pytest.raises(ValueError, match="no system message here"):
        rows_for(str(tmp_path), [CHAT], 512)
    with pytest.raises(ValueError, match="tells no answer from its prompt"):
        rows_for(str(tmp_path), [CHAT[1:3]], 512)


def test_a_checkpoint_without_a_template_is_taught_in_our_spelling(tmp_path):
    fast = checkpoint(tmp_path, template=None)
    assert template_of(str(tmp_path)) is None
    (row,) = rows_for(str(tmp_path), [CHAT[1:3]], 512)
    assert fast.decode(list(row[0])).startswith("<|user|>\nmachine 3 stands still\n<|assistant|>\n")
