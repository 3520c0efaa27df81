package postgres

import (
	"strconv"
	"strings"
	"sync"
)

// rewritten are the queries of package sqldb in PostgreSQL's dialect, by their texts. The texts
// are constants and a few combinations of filters, so what is kept has an end.
var rewritten sync.Map

// rewrite turns a query of package sqldb into PostgreSQL's dialect.
func rewrite(query string) string {
	if known, ok := rewritten.Load(query); ok {
		return known.(string)
	}
	text := translate(query)
	rewritten.Store(query, text)
	return text
}

// translate writes ? and ?1 as $1, and leaves out the advice to SQLite's planner: INDEXED BY
// with a name, and the CROSS of CROSS JOIN. Texts in quotes stay as they are. As in SQLite, a
// bare ? has the number after the largest so far.
func translate(query string) string {
	var b strings.Builder
	largest := 0
	for i := 0; i < len(query); {
		c := query[i]
		switch {
		case c == '\'' || c == '"':
			end := strings.IndexByte(query[i+1:], c)
			if end < 0 {
				b.WriteString(query[i:])
				return b.String()
			}
			b.WriteString(query[i : i+end+2])
			i += end + 2
		case c == '?':
			i++
			start := i
			for i < len(query) && query[i] >= '0' && query[i] <= '9' {
				i++
			}
			n, err := strconv.Atoi(query[start:i])
			if err != nil {
				n = largest + 1
			}
			largest = max(largest, n)
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
		case letter(c):
			start := i
			for i < len(query) && letter(query[i]) {
				i++
			}
			i = word(&b, query, start, i)
		default:
			b.WriteByte(c)
			i++
		}
	}
	return b.String()
}

// word writes the word query[start:end], or drops it with what belongs to it, and returns where
// to go on.
func word(b *strings.Builder, query string, start, end int) int {
	text := query[start:end]
	switch {
	case text == "INDEXED" && strings.HasPrefix(query[end:], " BY "):
		end += len(" BY ")
		for end < len(query) && letter(query[end]) {
			end++
		}
	case text == "CROSS" && strings.HasPrefix(query[end:], " JOIN"):
		end++ // the space
	default:
		b.WriteString(text)
	}
	return end
}

// letter reports whether a byte can be part of a name or a keyword.
func letter(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
