package app

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

// The last line says whether all went well, and has no empty error to stumble over.
func TestTheLastLine(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{nil, "level=INFO msg=stopped\n"},
		{errors.New("close the database: disk full"), `level=ERROR msg="stopped, but not as it should" error="close the database: disk full"` + "\n"},
	} {
		var lines bytes.Buffer
		(&App{log: logInto(t, &lines)}).sayStopped(test.err)
		if got := lines.String(); !strings.HasSuffix(got, test.want) {
			t.Errorf("%q, want %q at its end", got, test.want)
		}
	}
}

// A folder that may not be written says which setting chooses another one.
func TestDatabaseErrors(t *testing.T) {
	for _, test := range []struct {
		cause error
		want  string
	}{
		{&fs.PathError{Op: "mkdir", Path: "/data", Err: syscall.EACCES}, "open the database: mkdir /data: permission denied; let this user write there, or choose another folder (data_dir)"},
		{fmt.Errorf("open: %w", syscall.EROFS), "open the database: open: read-only file system; let this user write there, or choose another folder (data_dir)"},
		{errors.New("it is in use"), "open the database: it is in use"},
	} {
		err := databaseError("open the database", test.cause)
		if err.Error() != test.want || !errors.Is(err, test.cause) {
			t.Errorf("%q, want %q", err, test.want)
		}
	}
}
