package sqlite

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/store/schema"
	"github.com/planetbell/planetbell/planet"
)

// backupWith is a backup of a database with one call.
func backupWith(t *testing.T) (file string, sid planet.SessionID) {
	t.Helper()
	s := newStore(t)
	c, _ := ring(t, s, 1)
	file = filepath.Join(t.TempDir(), "backup.db")
	if _, err := Backup(t.Context(), s.path, file, unseen); err != nil {
		t.Fatalf("Backup: %v", err)
	}
	return file, c.SessionID
}

// wantCalls holds a database file to have the one call and not the other.
func wantCalls(t *testing.T, path string, there, absent planet.SessionID) {
	t.Helper()
	s := openStore(t, path)
	defer func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	wantSound(t, s)
	if _, err := s.Call(t.Context(), planet.Evaluation, there); err != nil {
		t.Errorf("%s: a call is not there: %v", path, err)
	}
	if _, err := s.Call(t.Context(), planet.Evaluation, absent); !errors.Is(err, bell.NotFound) {
		t.Errorf("%s: another's call: %v", path, err)
	}
}

func TestRestore(t *testing.T) {
	file, saved := backupWith(t)
	folder := t.TempDir()
	path := filepath.Join(folder, "planetbell.db")
	s := openStore(t, path)
	later, _ := ring(t, s, 2)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var last, of int64
	done, err := Restore(t.Context(), file, path, func(n, total int64) { last, of = n, total })
	if err != nil {
		t.Fatalf("Restore: %v", err)
	}
	if done.Calls != 1 || done.Pending != 0 || done.Bytes != last || last != of || done.Schema == 0 {
		t.Errorf("%+v, after %d of %d", done, last, of)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %s, %v", info.Mode(), err)
	}
	wantOnly(t, folder, "planetbell.db", filepath.Base(done.Aside), "planetbell.db.lock")
	wantCalls(t, path, saved, later.SessionID)
	wantCalls(t, done.Aside, later.SessionID, saved)
}

func TestRestoreWhereNothingWas(t *testing.T) {
	file, saved := backupWith(t)
	path := filepath.Join(t.TempDir(), "new", "planetbell.db")
	done, err := Restore(t.Context(), file, path, unseen)
	if err != nil || done.Aside != "" {
		t.Fatalf("Restore = %+v, %v", done, err)
	}
	wantCalls(t, path, saved, "absent")
}

// What a killed server left in its write-ahead log stays with its database, and does not
// get into the restored one.
func TestRestoreOverAKilledServersDatabase(t *testing.T) {
	file, saved := backupWith(t)
	s := newStore(t)
	settle(t, s) // what follows stays in the log
	later, _ := ring(t, s, 2)
	for _, kind := range []string{"whole", "damaged"} {
		folder := t.TempDir()
		path := filepath.Join(folder, "planetbell.db")
		for _, end := range []string{"", "-wal"} {
			content, err := os.ReadFile(s.path + end)
			if err != nil || len(content) == 0 {
				t.Fatalf("%d bytes, %v", len(content), err)
			}
			if kind == "damaged" && end == "" {
				copy(content, "This is no database any more")
			}
			if err := os.WriteFile(path+end, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		done, err := Restore(t.Context(), file, path, unseen)
		if err != nil {
			t.Fatalf("Restore: %v", err)
		}
		if _, err := os.Stat(path + "-wal"); !os.IsNotExist(err) {
			t.Errorf("%s: the old log is left beside the restored database: %v", kind, err)
		}
		wantCalls(t, path, saved, later.SessionID)
		if kind == "whole" {
			wantCalls(t, done.Aside, later.SessionID, saved)
		} else if !holds(done.Aside, later.SessionID) && !holds(done.Aside+"-wal", later.SessionID) {
			t.Error("what was in the log of the damaged database was not kept")
		}
	}
}

// holds looks for a call in a file that may be no database.
func holds(path string, sid planet.SessionID) bool {
	content, err := os.ReadFile(path)
	return err == nil && bytes.Contains(content, []byte(sid))
}

// A restore that is refused changes nothing.
func TestRestoresThatAreRefused(t *testing.T) {
	file, _ := backupWith(t)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	torn := bytes.Clone(content)
	clear(torn[len(torn)/2:]) // the pages are there, with nothing in them
	newer := write("newer", content)
	madeByNewer(t, newer, 99999)
	logged := write("logged", content)
	write("logged-wal", []byte("frames"))

	s := newStore(t)
	here := t.TempDir()
	path := filepath.Join(here, "planetbell.db")
	if err := os.WriteFile(path, migrated(t), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ backup, path, says string }{
		{file, s.path, "in use by another planetbell process"},
		{write("torn", torn), path, "damaged"},
		{write("cut", content[:len(content)/2]), path, "damaged"},
		{write("text", []byte(strings.Repeat("no database ", 1000))), path, "damaged"},
		{write("empty", nil), path, "not a database of planetbell"},
		{newer, path, "written by a newer version of planetbell (schema 99999"},
		{logged, path, "write-ahead log beside it"},
		{filepath.Join(folder, "absent"), path, "there is no backup"},
		{folder, path, "is not a file"},
		{path, path, "is the database itself"},
		{file, "", "no path was given"},
	} {
		_, err := Restore(t.Context(), test.backup, test.path, unseen)
		wantRefused(t, "Restore", err, test.says)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err = Restore(ctx, file, path, func(int64, int64) { cancel(errTest) })
	if !errors.Is(err, errTest) {
		t.Errorf("a restore that is not wanted any more: %v", err)
	}
	wantOnly(t, here, "planetbell.db", "planetbell.db.lock")
	if left, err := os.ReadFile(path); err != nil || !bytes.Equal(left, migrated(t)) {
		t.Errorf("the database was changed: %v", err)
	}
	ring(t, s, 1)
}

// An older backup is taken, and the server brings it up to date.
func TestRestoreOfAnOlderSchema(t *testing.T) {
	old := filepath.Join(t.TempDir(), "old.db")
	upTo(t, old, 5)
	path := filepath.Join(t.TempDir(), "planetbell.db")
	done, err := Restore(t.Context(), old, path, unseen)
	if err != nil || done.Schema != 5 || done.Pending == 0 {
		t.Fatalf("Restore = %+v, %v", done, err)
	}
	s := openStore(t, path)
	ring(t, s, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	steps, err := NewMigrations(path).Status(t.Context())
	if err != nil || len(schema.Pending(steps)) != 0 {
		t.Errorf("%v, %v", steps, err)
	}
}
