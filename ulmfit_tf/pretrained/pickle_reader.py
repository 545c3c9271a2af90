"""Reads pickles as data: what a pickle names is never imported or called."""

import dataclasses
import pickletools
import re

from ulmfit_tf.data.errors import DataError

# Longer than any vocabulary or weights index; bounds the memory of a reader.
MAX_BYTES = 8 << 20
# A word takes 2 of a list's, 3 of a dict's and at most 4 (protocol 0); the
# largest vocabulary, fastai 0.7's of WikiText-103, has 238,462 words.
MOST_OPERATIONS = 1_500_000

_DICTS = ("collections.OrderedDict", "collections.defaultdict")
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
# Their argument is the value.
_SCALARS = re.compile(
    r"INT|BININT[12]?|LONG[14]?|(BIN)?FLOAT|(SHORT_)?(BIN)?STRING|UNICODE|"
    r"(SHORT_)?BINUNICODE|BINUNICODE8|(SHORT_)?BINBYTES|BINBYTES8"
)
_KEYS = (str, int, bytes, type(None))
# Larger ones may have the same hash, and a dict of such takes time that grows
# with the square of its size. Ids of parameters in old files have 48 bits.
_LARGEST_KEY = 1 << 60


@dataclasses.dataclass(frozen=True)
class Name:
    """A class or function that a pickle names, and no more than the name."""

    dotted: str


@dataclasses.dataclass(eq=False)
class Call:
    """What a pickle would have called, with what: a record, never run.

    Attributes:
        name: Str, the dotted name of the class or function.
        arguments: Tuple of values.
        state: What the pickle would have restored the object's state from.
    """

    name: str
    arguments: tuple
    state: object = None


def read_pickle(
    file,
    where,
    allowed=(),
    persistent=None,
    most_operations=MOST_OPERATIONS,
):
    """Reads one pickle from where a file stands.

    Interprets the opcodes that weights and lists of words are made of;
    `pickle` itself is not involved. Dicts and lists come back as such, and
    so do `OrderedDict` and `defaultdict`; any other object as a `Call`.

    Args:
        file: Binary file in memory, of at most `MAX_BYTES`.
        where: What is read, for messages.
        allowed: Dotted names that the pickle may mention besides dicts.
        persistent: Function from a persistent id to the value for it;
            without one such ids are refused.
        most_operations: Int, the pickle operations that are carried out
            before the file is refused. Each takes up to 0.1 KB of memory,
            however short it is in the file.

    Returns:
        The value. The file stands after the pickle then.

    Raises:
        DataError: If the pickle is damaged, mentions a name that is not
            allowed, does what plain data does not need, or has too many
            operations.
    """
    machine = _Machine(where, {*_DICTS, *allowed}, persistent)
    try:
        for done, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if done == most_operations:
                raise machine.refused(f"has over {done:,} pickle operations")
            if opcode.name == "STOP":
                return machine.stack.pop()
            machine.step(opcode.name, argument)
    except DataError:
        raise
    except (
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise DataError(
            f"`{where}` is damaged or cut short: its pickle cannot be read "
            f"({str(error)[:100]}). Fetch the file again."
        ) from error
    raise DataError(f"`{where}` is cut short. Fetch the file again.")


class _Machine:
    """Stack, marks and memo of a pickle that is being read."""

    def __init__(self, where, allowed, persistent):
        self.where = where
        self.allowed = allowed
        self.persistent = persistent
        self.stack = []
        self.marks = []
        self.memo = {}

    def step(self, name, argument):
        if _SCALARS.fullmatch(name):
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif (method := _STEPS.get(name)) is not None:
            method(self, argument)
        else:
            raise self.refused(f"uses the pickle operation {name}")

    def refused(self, what):
        return DataError(
            f"`{self.where}` {what}, which no weights or vocabulary need. It "
            "was not read further, and nothing of it was run. Fetch the file "
            "from its original source; do not open this one with `pickle` or "
            "`torch.load`."
        )

    def pop_marked(self):
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def mark(self, _):
        self.marks.append(len(self.stack))

    def empty_list(self, _):
        self.stack.append([])

    def empty_dict(self, _):
        self.stack.append({})

    def empty_tuple(self, _):
        self.stack.append(())

    def marked_list(self, _):
        self.stack.append(self.pop_marked())

    def marked_tuple(self, _):
        self.stack.append(tuple(self.pop_marked()))

    def marked_dict(self, _):
        items = self.pop_marked()
        self.stack.append({})
        self.add_items(items)

    def tuple_of(self, count):
        if len(self.stack) < count:
            raise IndexError("the stack is empty")
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.stack.append(items)

    def append(self, _):
        self.extend([self.stack.pop()])

    def appends(self, _):
        self.extend(self.pop_marked())

    def extend(self, items):
        if not isinstance(self.stack[-1], list):
            raise self.refused("appends to something that is no list")
        self.stack[-1].extend(items)

    def set_item(self, _):
        value = self.stack.pop()
        self.add_items([self.stack.pop(), value])

    def set_items(self, _):
        self.add_items(self.pop_marked())

    def add_items(self, items):
        if not isinstance(self.stack[-1], dict) or len(items) % 2:
            raise self.refused("sets items of something that is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, _KEYS):
                raise self.refused(f"has a key of type {type(key).__name__}")
            if isinstance(key, int) and abs(key) >= _LARGEST_KEY:
                raise self.refused("has a very large number as a key")
            self.stack[-1][key] = value

    def put(self, index):
        if abs(index) >= _LARGEST_KEY:
            raise self.refused("has a very large number in its memo")
        self.memo[index] = self.stack[-1]

    def memoize(self, _):
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, index):
        self.stack.append(self.memo[index])

    def name(self, argument):
        self.push_name(*argument.split(" ", 1))

    def stack_name(self, _):
        self.tuple_of(2)
        self.push_name(*self.stack.pop())

    def push_name(self, module, name):
        # Of other objects, written out, a few bytes can make gigabytes.
        if type(module) is not str or type(name) is not str:
            raise self.refused("names something by other things than words")
        dotted = f"{module}.{name}"
        if dotted not in self.allowed:
            raise self.refused(f"names {dotted[:100]!r}")
        self.stack.append(Name(dotted))

    def call(self, _):
        self.tuple_of(2)
        function, arguments = self.stack.pop()
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise self.refused("calls something that is no function")
        if function.dotted in _DICTS:
            # A `defaultdict` is handed its factory.
            if arguments and not isinstance(arguments[0], Name):
                raise self.refused("fills a dict in an unusual way")
            self.stack.append({})
        else:
            self.stack.append(Call(function.dotted, arguments))

    def build(self, _):
        state = self.stack.pop()
        if isinstance(self.stack[-1], Call):
            self.stack[-1].state = state
        elif not isinstance(self.stack[-1], dict):
            raise self.refused("sets the state of plain data")

    def persistent_id(self, _):
        if self.persistent is None:
            raise self.refused("refers to data outside of it")
        self.stack.append(self.persistent(self.stack.pop()))


_STEPS = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "MARK": _Machine.mark,
    "EMPTY_LIST": _Machine.empty_list,
    "EMPTY_DICT": _Machine.empty_dict,
    "EMPTY_TUPLE": _Machine.empty_tuple,
    "LIST": _Machine.marked_list,
    "TUPLE": _Machine.marked_tuple,
    "DICT": _Machine.marked_dict,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize,
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stack_name,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent_id,
}
