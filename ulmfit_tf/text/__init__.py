"""Text to token ids: vocabularies and tokenizers."""

from ulmfit_tf.text.transfer import transfer_rows
from ulmfit_tf.text.vocabulary import BEGIN_ID
from ulmfit_tf.text.vocabulary import PADDING_ID
from ulmfit_tf.text.vocabulary import SPECIAL_TOKENS
from ulmfit_tf.text.vocabulary import UNKNOWN_ID
from ulmfit_tf.text.vocabulary import Vocabulary
from ulmfit_tf.text.word_tokenizer import WordTokenizer
from ulmfit_tf.text.word_tokenizer import join_fields
from ulmfit_tf.text.word_tokenizer import split_words
