package postgres

import (
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// bind turns arguments into what pgx sends: texts escaped, all integers of one size, so that
// PostgreSQL finds the same types whether a statement is prepared or not.
func bind(args []any) []any {
	bound := make([]any, len(args))
	for i, arg := range args {
		bound[i] = value(arg)
	}
	return bound
}

func value(arg any) any {
	switch v := arg.(type) {
	case string:
		return escape(v)
	case int:
		return int64(v)
	case nil, bool, int64, []int64, []bool:
		return v
	case []string:
		escaped := make([]string, len(v)) // the statement may be run again with what was given
		for i, s := range v {
			escaped[i] = escape(s)
		}
		return escaped
	}
	panic(fmt.Sprintf("an argument of type %T: the queries bind texts, integers and bools", arg))
}

// record is one row of a result, with the types of its columns.
type record struct {
	columns []pgconn.FieldDescription
	values  [][]byte
}

// Scan implements sqldb.Scanner.
func (r record) Scan(dest ...any) error {
	if len(dest) != len(r.values) {
		return fmt.Errorf("a row has %d columns, and there are places for %d", len(r.values), len(dest))
	}
	for i, to := range dest {
		v, err := decode(&r.columns[i], r.values[i])
		if err == nil {
			err = assign(to, v)
		}
		if err != nil {
			return fmt.Errorf("read column %d (%s): %w", i+1, r.columns[i].Name, err)
		}
	}
	return nil
}

// decode reads a value as PostgreSQL sends it: an int64, a string, a bool, or nil.
func decode(column *pgconn.FieldDescription, raw []byte) (any, error) {
	if raw == nil {
		return nil, nil
	}
	binaryFormat := column.Format == pgx.BinaryFormatCode
	switch column.DataTypeOID {
	case pgtype.TextOID, pgtype.VarcharOID, pgtype.NameOID, pgtype.UnknownOID:
		return unescape(string(raw)), nil
	case pgtype.BoolOID:
		if len(raw) != 1 {
			return nil, errors.New("not a bool")
		}
		return raw[0] == 1 || raw[0] == 't', nil
	case pgtype.Int8OID, pgtype.Int4OID, pgtype.Int2OID:
		switch {
		case !binaryFormat:
			return strconv.ParseInt(string(raw), 10, 64)
		case len(raw) == 8:
			return int64(binary.BigEndian.Uint64(raw)), nil
		case len(raw) == 4:
			return int64(int32(binary.BigEndian.Uint32(raw))), nil
		case len(raw) == 2:
			return int64(int16(binary.BigEndian.Uint16(raw))), nil
		}
	}
	return nil, fmt.Errorf("a value of type %d, which this program never keeps", column.DataTypeOID)
}

// assign puts a value where it belongs.
func assign(to, v any) error {
	switch to := to.(type) {
	case sql.Scanner:
		return to.Scan(v)
	case *string:
		if s, ok := v.(string); ok {
			*to = s
			return nil
		}
	case *int64:
		if n, ok := v.(int64); ok {
			*to = n
			return nil
		}
	case *bool:
		if b, ok := v.(bool); ok {
			*to = b
			return nil
		}
	}
	place := reflect.ValueOf(to)
	if place.Kind() != reflect.Pointer || place.IsNil() {
		return fmt.Errorf("no place for a value: %T", to)
	}
	return set(place.Elem(), v)
}

// set is assign for types of other names, and for values that may be missing.
func set(place reflect.Value, v any) error {
	if place.Kind() == reflect.Pointer {
		if v == nil {
			place.SetZero()
			return nil
		}
		inner := reflect.New(place.Type().Elem())
		if err := set(inner.Elem(), v); err != nil {
			return err
		}
		place.Set(inner)
		return nil
	}
	switch v := v.(type) {
	case string:
		switch {
		case place.Kind() == reflect.String:
			place.SetString(v)
			return nil
		case place.Kind() == reflect.Slice && place.Type().Elem().Kind() == reflect.Uint8:
			place.SetBytes([]byte(v))
			return nil
		}
	case int64:
		if place.CanInt() && !place.OverflowInt(v) {
			place.SetInt(v)
			return nil
		}
	case bool:
		if place.Kind() == reflect.Bool {
			place.SetBool(v)
			return nil
		}
	}
	return fmt.Errorf("a value of type %T does not go into a %s", v, place.Type())
}
