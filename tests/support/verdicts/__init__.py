"""Small scripts, each with the verdict that a k6 user would sign; `TABLES` has all of them."""

from support.verdicts import table_apart, table_load, table_more, table_protocols, table_script

TABLES = {
    "load": table_load,
    "apart": table_apart,
    "script": table_script,
    "protocols": table_protocols,
    "more": table_more,
}
