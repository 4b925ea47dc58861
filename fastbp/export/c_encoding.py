"""The encoding of a table's columns in C99, equal to that of `tabular.encoding.columns`, in double.

This file must not know networks or answers.
"""

from __future__ import annotations

import numpy as np

from fastbp.export import c_text
from fastbp.export.c_layers import in_c
from fastbp.export.parts import Column, Dates, Numbers, Texts

_HALF = 2**32

_NUMBER = """
/* Write the scaled number, the mark of missing numbers and the bins. NaN and infinity are missing. */
static inline void P_encode_number(
    double x, double median, double scale, int marks_missing, const double *edges, int n_edges, T *z) {
  int i, is_missing = !isfinite(x);
  double scaled = 0;
  x = is_missing ? median : x > 1e300 ? 1e300 : x < -1e300 ? -1e300 : x;
  if (scale > 0) {
    scaled = (x - median) / scale;
    scaled = scaled > 1e9 ? 1e9 : scaled < -1e9 ? -1e9 : scaled;
    scaled /= sqrt(1 + scaled / 3 * (scaled / 3));
  }
  *z++ = (T)(is_missing ? 0 : scaled);
  if (marks_missing) *z++ = (T)is_missing;
  for (i = 1; i < n_edges; i++) {
    double lower = edges[i - 1], upper = edges[i], inside = x < lower ? lower : x > upper ? upper : x;
    double bin = 2 * (inside / 2 - lower / 2) / (upper / 2 - lower / 2) - 1;
    *z++ = (T)(is_missing ? 0 : bin);
  }
}
"""

_PERIOD = """
/* Write the sine and cosine of the phase of a day within a period. */
static inline void P_encode_period(double day, double period, T *z) {
  int is_missing = !isfinite(day);
  double phase = is_missing ? 0 : fmod(day, period) * 6.283185307179586 / period;
  z[0] = (T)(is_missing ? 0 : sin(phase));
  z[1] = (T)(is_missing ? 0 : cos(phase));
}
"""

_CODE = """
/* Write one 1 among zeros, or -1 or 1 for two levels. Any other number than a code gives zeros. */
static inline void P_encode_code(double x, int n_levels, T *z) {
  int i, code = x >= 0 && x < n_levels ? (int)x : -1;
  if (n_levels == 2) {
    z[0] = (T)(code < 0 ? 0 : 2 * code - 1);
    return;
  }
  for (i = 0; i < n_levels; i++) z[i] = i == code;
}
"""

_FIND = """
static inline int P_find(const P_level *levels, int n, const char *text, size_t length) {
  int i;
  for (i = 0; i < n; i++)
    if (strncmp(levels[i].text, text, length) == 0 && levels[i].text[length] == 0) return levels[i].code;
  return -1;
}
"""

_LOOKUP = """
/* Return the code of a text (UTF-8) of a column, or -1 for a text that training did not know. "5.0" is "5". */
static inline int P_code(int column, const char *text) {
  const P_level *levels;
  int n, code;
  size_t sign = text[0] == '-', digits = strspn(text + sign, "0123456789"), whole = sign + digits, zeros;
  switch (column) {
CASES
    default:
      return -1;
  }
  code = P_find(levels, n, text, strlen(text));
  if (code >= 0 || digits == 0 || (digits > 1 && text[sign] == '0') || text[whole] != '.') return code;
  zeros = strspn(text + whole + 1, "0");
  return zeros > 0 && text[whole + 1 + zeros] == 0 ? P_find(levels, n, text, whole) : -1;
}
"""

_WHOLE = """
/* Return x[PLACE] for a whole number, whose last digits a double would lose. */
static inline double P_whole_PLACE(INTEGER cell) {
  double high = (double)(cell / 4294967296LL) - HIGH, low = (double)(cell % 4294967296LL) - LOW;
  return high * 4294967296.0 + low;
}
"""


def headers(columns: list[Column]) -> list[str]:
    """Return the headers of C that the encoding needs, besides math.h."""
    needed = ["stdint.h"] if any(isinstance(one, Numbers) and one.offset for one in columns) else []
    return needed + (["string.h"] if any(isinstance(one, Texts) for one in columns) else [])


def described(prefix: str, columns: list[Column]) -> list[str]:
    """Return a line of a comment about each column."""
    lines = []
    for place, column in enumerate(columns):
        if isinstance(column, Texts):
            kind = f"a code, {prefix}_code({place}, text), which is -1 for a missing or an unknown text"
        elif isinstance(column, Dates):
            kind = "days since 1970-01-01, or NAN for a missing date"
        elif column.offset:
            kind = f"{prefix}_whole_{place}(whole number), or NAN for a missing number"
        else:
            kind = "a number (0 or 1 for a truth value), or NAN for a missing number"
        lines.append(f"  x[{place}]  {c_text.text(column.name)}: {kind}")
    return lines


def encoding(prefix: str, columns: list[Column], dtype: np.dtype[np.generic]) -> str:
    """Return the function `PREFIX_encode(x, z)`, the tables that it needs, and what turns cells into x.

    Parameters
    ----------
    prefix : str
    columns : list of Numbers, Texts and Dates
    dtype : dtype
        Of the inputs z.
    """
    kinds = {type(column) for column in columns}
    code = [f"\n{c_text.names(f'{prefix}_columns', [column.name for column in columns])}"]
    if Texts in kinds:
        code.append(_lookup(prefix, columns))
    for place, column in enumerate(columns):
        if isinstance(column, Numbers) and column.offset:
            code.append(_whole(prefix, place, column.offset))
    used = [_NUMBER] * bool(kinds & {Numbers, Dates}) + [_PERIOD] * (Dates in kinds) + [_CODE] * (Texts in kinds)
    code += [in_c(template, prefix, dtype) for template in used]
    steps, at = [], 0
    for place, column in enumerate(columns):
        if isinstance(column, Texts):
            steps.append(f"  {prefix}_encode_code(x[{place}], {column.n_levels}, z + {at});")
            at += 1 if column.n_levels == 2 else column.n_levels
            continue
        if isinstance(column, Dates):
            for period in column.periods:
                steps.append(f"  {prefix}_encode_period(x[{place}], {c_text.number(period)}, z + {at});")
                at += 2
        numbers = column.days if isinstance(column, Dates) else column
        edges = "0"
        if numbers.edges:
            edges = f"{prefix}_edges_{place}"
            code += ["\n", c_text.array(edges, np.array(numbers.edges), "double")]
        known = f"{c_text.number(numbers.median)}, {c_text.number(numbers.scale)}, {int(numbers.marks_missing)}"
        steps.append(f"  {prefix}_encode_number(x[{place}], {known}, {edges}, {len(numbers.edges)}, z + {at});")
        at += 1 + numbers.marks_missing + max(0, len(numbers.edges) - 1)
    begun = f"\nstatic inline void {prefix}_encode(const double *x, {c_text.type_of(dtype)} *z) {{"
    return "".join(code) + "\n".join([f"\n#define {prefix.upper()}_WIDTH {at}", begun, *steps, "}\n"])


def _lookup(prefix: str, columns: list[Column]) -> str:
    code = [f"\ntypedef struct {{\n  const char *text;\n  int code;\n}} {prefix}_level;\n"]
    cases = []
    for place, column in enumerate(columns):
        if isinstance(column, Texts):
            name = f"{prefix}_levels_{place}"
            known = sorted(column.places.items(), key=lambda item: item[1])
            definitions, standing = c_text.texts(f"{name}_text", [level for level, _ in known])
            lines = ",\n".join(f"  {{{one}, {own}}}" for one, (_, own) in zip(standing, known, strict=True))
            code.append(f"\n{definitions}static const {prefix}_level {name}[] = {{\n{lines}\n}};\n")
            cases.append(f"    case {place}:\n      levels = {name};\n      n = {len(known)};\n      break;")
    template = (_FIND + _LOOKUP).replace("CASES", "\n".join(cases))
    return "".join(code) + in_c(template, prefix, np.float64)


def _whole(prefix: str, place: int, offset: int) -> str:
    """Return a function that subtracts the offset in two halves of 32 bits: one of 64 bits could overflow."""
    high = abs(offset) // _HALF * (1 if offset > 0 else -1)  # C divides towards 0
    template = _WHOLE.replace("PLACE", str(place)).replace("HIGH", c_text.number(high))
    template = template.replace("LOW", c_text.number(offset - high * _HALF))
    if offset >= 2**63:
        template = template.replace("LL", "ULL").replace("INTEGER", "uint64_t")
    return template.replace("INTEGER", "int64_t").replace("P_", f"{prefix}_")
