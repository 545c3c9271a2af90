"""Text to token ids: vocabularies and tokenizers."""

from ulmfit_tf.text.counting import count_tokens
from ulmfit_tf.text.detokenizing import detokenize_pieces, detokenize_words
from ulmfit_tf.text.rules import RULES_VERSION
from ulmfit_tf.text.sentencepiece_tokenizer import (
    SentencePieceTokenizer,
    train_sentencepiece,
)
from ulmfit_tf.text.storage import (
    load_tokenizer,
    save_tokenizer,
    tokenizer_fingerprint,
)
from ulmfit_tf.text.transfer import transfer_rows
from ulmfit_tf.text.vocabulary import (
    BEGIN_ID,
    PADDING_ID,
    SPECIAL_TOKENS,
    UNKNOWN_ID,
    Vocabulary,
)
from ulmfit_tf.text.word_tokenizer import (
    WordTokenizer,
    join_fields,
    split_words,
)

__all__ = [
    "BEGIN_ID",
    "PADDING_ID",
    "RULES_VERSION",
    "SPECIAL_TOKENS",
    "UNKNOWN_ID",
    "SentencePieceTokenizer",
    "Vocabulary",
    "WordTokenizer",
    "count_tokens",
    "detokenize_pieces",
    "detokenize_words",
    "join_fields",
    "load_tokenizer",
    "save_tokenizer",
    "split_words",
    "tokenizer_fingerprint",
    "train_sentencepiece",
    "transfer_rows",
]
