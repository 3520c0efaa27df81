package datamove

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"

	"github.com/planetbell/planetbell/internal/store/postgres"
)

// check wants a row of the source to be what its schema says and PostgreSQL can keep. The
// error names the row by its key and the column, and never tells what is in it.
func (t *table) check(row []any) error {
	for i, value := range row {
		c := t.columns[i]
		if wrong := c.wrong(value); wrong != "" {
			return fmt.Errorf("the row %s holds in %s %s, which PostgreSQL cannot keep. Repair or delete it in the SQLite database", t.keyText(row), c.name, wrong)
		}
	}
	return nil
}

// wrong says what is wrong with a value; "" if nothing is.
func (c column) wrong(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case int64:
		if c.kind != integer {
			return "a number"
		}
		if c.flag && v != 0 && v != 1 {
			return "neither 0 nor 1"
		}
		return ""
	case string:
		if c.kind != text {
			return "a text"
		}
		return ""
	}
	return fmt.Sprintf("a %T", value)
}

// keyText names a row. Keys are IDs and times, no secrets.
func (t *table) keyText(row []any) string {
	var parts []string
	for _, i := range t.key {
		parts = append(parts, fmt.Sprintf("%s=%q", t.columns[i].name, fmt.Sprint(row[i])))
	}
	return strings.Join(parts, " ")
}

// keyOf is the key of a row.
func (t *table) keyOf(row []any) []any {
	var key []any
	for _, i := range t.key {
		key = append(key, row[i])
	}
	return key
}

// toTarget changes a row into what the target keeps.
func (t *table) toTarget(row []any) {
	for i, c := range t.columns {
		switch v := row[i].(type) {
		case int64:
			if c.flag {
				row[i] = v == 1
			}
		case string:
			row[i] = postgres.Escape(v)
		}
	}
}

// fromTarget changes a row into what the source keeps.
func fromTarget(row []any) {
	for i, value := range row {
		switch v := value.(type) {
		case bool:
			row[i] = int64(0)
			if v {
				row[i] = int64(1)
			}
		case int16:
			row[i] = int64(v)
		case int32:
			row[i] = int64(v)
		case string:
			row[i] = postgres.Unescape(v)
		}
	}
}

// sum adds up the rows of a table. It does not depend on their order: databases sort texts
// in their own ways. Each row becomes a SHA-256, and those are added as four numbers, so that
// no two changes cancel out by chance.
type sum struct {
	rows  int64
	words [4]uint64
	hash  hash.Hash
	space []byte
}

func newSum() *sum { return &sum{hash: sha256.New()} }

// add takes a row as the source keeps it.
func (s *sum) add(row []any) error {
	s.space = s.space[:0]
	for _, value := range row {
		switch v := value.(type) {
		case nil:
			s.space = append(s.space, 'n')
		case int64:
			s.space = binary.BigEndian.AppendUint64(append(s.space, 'i'), uint64(v)) //nolint:gosec // its bits are what counts
		case string:
			s.space = binary.BigEndian.AppendUint64(append(s.space, 't'), uint64(len(v)))
			s.space = append(s.space, v...)
		default:
			return fmt.Errorf("a value has the type %T, which is not expected", value)
		}
	}
	s.hash.Reset()
	s.hash.Write(s.space)
	s.space = s.hash.Sum(s.space[:0])
	for i := range s.words {
		s.words[i] += binary.BigEndian.Uint64(s.space[i*8:])
	}
	s.rows++
	return nil
}

// text is the sum in hexadecimal digits.
func (s *sum) text() string {
	var b []byte
	for _, w := range s.words {
		b = binary.BigEndian.AppendUint64(b, w)
	}
	return hex.EncodeToString(b)
}
