"""Stable codes of every problem that a scenario file can have.

A code never changes its meaning; a code that is no longer used is not given to another check.

========  =========================  ==============================================================
code      name                       what is wrong
========  =========================  ==============================================================
``S001``  ``FILE_MISSING``           the file does not exist
``S002``  ``FILE_NOT_REGULAR``       it is a directory, a pipe or a device
``S003``  ``FILE_UNREADABLE``        the operating system refuses to read it
``S004``  ``FILE_BINARY``            it is not text
``S005``  ``FILE_ENCODING``          it is not UTF-8
``S006``  ``FILE_EMPTY``             it says nothing
``S007``  ``FILE_TOO_LARGE``         it is larger than the limit
``S011``  ``YAML_SYNTAX``            it is not YAML
``S012``  ``YAML_DUPLICATE_KEY``     a mapping has the same key twice
``S013``  ``YAML_TAG``               a value carries a tag (``!!python/object``, ``!include``)
``S014``  ``YAML_DOCUMENTS``         a second document follows ``---``
``S015``  ``YAML_DEPTH``             nested too deeply
``S016``  ``YAML_NODES``             too many values, after aliases were expanded
``S017``  ``YAML_ALIASES``           too many aliases
``S018``  ``YAML_ALIAS``             an alias without an anchor, or inside its own anchor
``S019``  ``YAML_KEY``               a key that is a list, a mapping or an alias
``S020``  ``YAML_MERGE``             ``<<`` takes something else than a mapping
``S021``  ``YAML_OCTAL``             a number such as ``012``, which some readers take for ten
``S101``  ``EXTENDS_CYCLE``          files extend each other in a circle
``S102``  ``FILE_REFERENCE``         a path to another file that is not one
``S103``  ``NOT_A_MAPPING``          a file whose top level is not a mapping
``S104``  ``ITEM_WITHOUT_NAME``      an item of a list that is merged by name has no name
``S105``  ``NOTHING_TO_DROP``        ``drop: true`` names an item that is not there
``S106``  ``UNKNOWN_TEMPLATE``       ``template:`` names a template that is not there
``S107``  ``FLEET``                  a fleet that cannot be laid out
``S108``  ``OVERRIDE_SYNTAX``        an override that is not ``path=value``
``S109``  ``OVERRIDE_PATH``          an override whose path leads nowhere
``S110``  ``CSV``                    a demand file with wrong columns, numbers or order
``S111``  ``WRONG_FORM``             a scenario where a region is needed, or the reverse
``S201``  ``MISSING_KEY``            a required key is missing
``S202``  ``UNKNOWN_KEY``            a key that means nothing here
``S203``  ``WRONG_TYPE``             a list instead of a mapping, text instead of a number, ...
``S204``  ``OUT_OF_RANGE``           a number that is too small, too large or not finite
``S205``  ``NOT_A_CHOICE``           a word that is not one of the allowed words
``S206``  ``QUANTITY``               a quantity without unit, or that cannot be read
``S207``  ``BAD_ID``                 an id with characters that ids do not have
``S208``  ``UNKNOWN_KIND``           no mechanism of this kind
``S209``  ``LENGTH``                 too few or too many items, too long a text
``S210``  ``INVALID``                a mechanism refuses its own configuration
``S301``  ``DUPLICATE_ID``           two things with one id
``S302``  ``DANGLING``               a name that names nothing
``S303``  ``ZONE_SHARES``            shares of zones that do not add up to one
``S304``  ``PAST_HORIZON``           something that would happen after the end of the run
``S305``  ``SELF_CALL``              a pool that calls itself
``S306``  ``TWICE``                  the same dependency, pool or name listed twice
``S307``  ``UNKNOWN_METRIC``         an expectation about a metric that is not measured
``S308``  ``EXPECTATION``            an expectation that cannot fail, or compares nonsense
``S309``  ``NO_BASIS``               a number that does not say where it comes from
``S310``  ``BASIS_FIELD``            a basis for a field that is not there
``S311``  ``ALARM``                  an alarm that watches nothing, or two things
``S312``  ``ORDER``                  times that are not in order
========  =========================  ==============================================================
"""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """Name of a check; the table is in the docstring of the module."""

    FILE_MISSING = "S001"
    FILE_NOT_REGULAR = "S002"
    FILE_UNREADABLE = "S003"
    FILE_BINARY = "S004"
    FILE_ENCODING = "S005"
    FILE_EMPTY = "S006"
    FILE_TOO_LARGE = "S007"
    YAML_SYNTAX = "S011"
    YAML_DUPLICATE_KEY = "S012"
    YAML_TAG = "S013"
    YAML_DOCUMENTS = "S014"
    YAML_DEPTH = "S015"
    YAML_NODES = "S016"
    YAML_ALIASES = "S017"
    YAML_ALIAS = "S018"
    YAML_KEY = "S019"
    YAML_MERGE = "S020"
    YAML_OCTAL = "S021"
    EXTENDS_CYCLE = "S101"
    FILE_REFERENCE = "S102"
    NOT_A_MAPPING = "S103"
    ITEM_WITHOUT_NAME = "S104"
    NOTHING_TO_DROP = "S105"
    UNKNOWN_TEMPLATE = "S106"
    FLEET = "S107"
    OVERRIDE_SYNTAX = "S108"
    OVERRIDE_PATH = "S109"
    CSV = "S110"
    WRONG_FORM = "S111"
    MISSING_KEY = "S201"
    UNKNOWN_KEY = "S202"
    WRONG_TYPE = "S203"
    OUT_OF_RANGE = "S204"
    NOT_A_CHOICE = "S205"
    QUANTITY = "S206"
    BAD_ID = "S207"
    UNKNOWN_KIND = "S208"
    LENGTH = "S209"
    INVALID = "S210"
    DUPLICATE_ID = "S301"
    DANGLING = "S302"
    ZONE_SHARES = "S303"
    PAST_HORIZON = "S304"
    SELF_CALL = "S305"
    TWICE = "S306"
    UNKNOWN_METRIC = "S307"
    EXPECTATION = "S308"
    NO_BASIS = "S309"
    BASIS_FIELD = "S310"
    ALARM = "S311"
    ORDER = "S312"
