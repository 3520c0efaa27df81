package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/store/sqldb"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func equal[T any](t *testing.T, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func claimAll(now time.Time) delivery.Claim {
	return delivery.Claim{Owner: "test", Now: now, LeaseUntil: now, TakeAll: true, Limit: 10}
}

// wantOpenFails opens a database that cannot be opened, and holds the error to be a
// sentence that names the file.
func wantOpenFails(t *testing.T, path, says string) {
	t.Helper()
	s, err := Open(t.Context(), Config{Path: path, Log: testlog.New(t)})
	if err == nil {
		t.Fatalf("Open succeeded; Close: %v", s.Close())
	}
	testlog.Keep(t, "Open", err.Error())
	if !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path) {
		t.Errorf("Open = %q, want it to name the file and to say %q", err, says)
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	s := newStore(t)
	wantOpenFails(t, s.path, "in use by another planetbell process")
	if err := s.AddDevice(t.Context(), bell.Device{ID: "still at work"}); err != nil {
		t.Errorf("the first one was disturbed: %v", err)
	}
}

func TestFailedOpenFreesTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "planetbell.db")
	if err := os.WriteFile(path, bytes.Repeat([]byte("not a database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wantOpenFails(t, path, "damaged")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := openStore(t, path).Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// madeByNewer lets a database look like one of a newer version, which works with programs
// that know the oldest schema.
func madeByNewer(t *testing.T, path string, oldest int) {
	t.Helper()
	db := opened(t, path)
	if _, err := db.Exec(fmt.Sprintf(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1); PRAGMA user_version = %d`, oldest)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestDatabaseOfANewerVersionIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "planetbell.db")
	if err := os.WriteFile(path, migrated(t), 0o600); err != nil {
		t.Fatal(err)
	}
	madeByNewer(t, path, int(newest(t))+1)
	wantOpenFails(t, path, "newer version of planetbell (schema 99999")
}

// Who goes back by a release takes the database along, if the newer one says that it may.
func TestDatabaseOfANewerVersionIsUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "planetbell.db")
	if err := os.WriteFile(path, migrated(t), 0o600); err != nil {
		t.Fatal(err)
	}
	madeByNewer(t, path, int(newest(t)))
	s := openStore(t, path)
	ring(t, s, 1)
	file := filepath.Join(t.TempDir(), "backup.db")
	_, err := Backup(t.Context(), path, file, unseen)
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	if done, err := Restore(t.Context(), file, path, unseen); err != nil || done.Schema != 99999 || done.Pending != 0 {
		t.Errorf("Restore = %+v, %v", done, err)
	}
}

func TestPathsThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantOpenFails(t, "", "no path")
	wantOpenFails(t, filepath.Join(file, "planetbell.db"), "make the folder")
	wantOpenFails(t, t.TempDir(), "open the database file")
	blocked := filepath.Join(t.TempDir(), "planetbell.db")
	if err := os.Mkdir(blocked+".lock", 0o700); err != nil {
		t.Fatal(err)
	}
	wantOpenFails(t, blocked, "open the lock file")
}

// Characters that mean something in a URI are part of the name all the same.
func TestOddPaths(t *testing.T) {
	for _, name := range []string{"with space.db", "q?mode=memory&x=1.db", "a#b.db", "100%25.db", "베ル;'\".db", "file:x.db"} {
		path := filepath.Join(t.TempDir(), name)
		s := openStore(t, path)
		if err := s.AddDevice(t.Context(), bell.Device{ID: "x"}); err != nil {
			t.Errorf("AddDevice in %q: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close %q: %v", name, err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("the database is not in %q: %v", name, err)
		}
	}
}

func TestRelativePath(t *testing.T) {
	t.Chdir(t.TempDir())
	s := openStore(t, "planetbell.db")
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if info, err := os.Stat("planetbell.db"); err != nil || info.Size() == 0 {
		t.Errorf("the database is not there: %v", err)
	}
}

func TestFilesAreForTheOwnerOnly(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "new", "folder")
	path := filepath.Join(folder, "planetbell.db")
	s := openStore(t, path)
	defer func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	for name, want := range map[string]os.FileMode{
		folder: 0o700 | os.ModeDir, path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600, path + ".lock": 0o600,
	} {
		info, err := os.Stat(name)
		if err != nil {
			t.Errorf("Stat: %v", err)
		} else if info.Mode() != want {
			t.Errorf("%s has mode %s, want %s", filepath.Base(name), info.Mode(), want)
		}
	}
}

func TestOpenFileIsProtected(t *testing.T) {
	path := filepath.Join(t.TempDir(), "planetbell.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := openStore(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %s, %v; want 0600", info.Mode(), err)
	}
}

func TestSettings(t *testing.T) {
	s := newStore(t)
	read := func(l *link, pragma string) string {
		var value string
		if _, err := l.One(`PRAGMA `+pragma, sqldb.Into([]any{&value})); err != nil {
			t.Errorf("PRAGMA %s: %v", pragma, err)
		}
		return value
	}
	err := s.writer.submit(t.Context(), "look", func(l *link) error {
		for pragma, want := range map[string]string{
			"journal_mode": "wal", "synchronous": "2", "secure_delete": "1", "busy_timeout": "5000", "cache_size": "-65536",
		} {
			if got := read(l, pragma); got != want {
				t.Errorf("the writer's %s is %s, want %s", pragma, got, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.readers.read(t.Context(), func(l *link) error {
		if got := read(l, "query_only"); got != "1" {
			t.Errorf("a reader's query_only is %s", got)
		}
		if _, err := l.Exec(`DELETE FROM devices`); err == nil {
			t.Error("a reader can write")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNewEnough(t *testing.T) {
	for version, want := range map[string]bool{
		"3.51.3": true, "3.51.10": true, "3.54.1": true, "4.0.0": true,
		"3.51.2": false, "3.7.0": false, "2.99.99": false, "3.51": false, "": false, "3.x.3": false,
	} {
		if newEnough(version) != want {
			t.Errorf("newEnough(%q) = %t", version, !want)
		}
	}
}

// The driver's C library must be the very version that the driver was made with: others
// crash it (usememos/memos#4745, pocketbase#6136).
func TestDriverHasItsOwnLibc(t *testing.T) {
	module := func(format, path string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", format, path).Output()
		if err != nil {
			t.Fatalf("go list -m %s: %v", path, err)
		}
		return strings.TrimSpace(string(out))
	}
	file, err := os.ReadFile(filepath.Join(module("{{.Dir}}", "modernc.org/sqlite"), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	wants := regexp.MustCompile(`modernc\.org/libc (v\S+)`).FindSubmatch(file)
	if wants == nil {
		t.Fatal("the driver's go.mod names no modernc.org/libc")
	}
	if have := module("{{.Version}}", "modernc.org/libc"); have != string(wants[1]) {
		t.Errorf("go.mod has modernc.org/libc %s, but modernc.org/sqlite is made for %s: go get modernc.org/libc@%[2]s", have, wants[1])
	}
}

// cc_param must be gone from the table when the call is over, and from the file once it
// is closed.
func TestSecretIsErasedFromTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "planetbell.db")
	s := openStore(t, path)
	ended, endedDeliveries, _ := benchCall(1)
	expired, expiredDeliveries, _ := benchCall(2)
	for _, begun := range []struct {
		call       bell.Call
		deliveries []bell.Delivery
	}{{ended, endedDeliveries}, {expired, expiredDeliveries}} {
		raw := []planet.RawParam{{Name: "param", Value: begun.call.CCParam.Reveal()}}
		if _, err := s.BeginCall(t.Context(), begun.call, begun.deliveries, raw); err != nil {
			t.Fatalf("BeginCall: %v", err)
		}
	}
	if n := secretsKept(t, s); n != 2 {
		t.Fatalf("%d calls have a cc_param, want 2", n)
	}
	entry := bell.JournalEntry{Kind: "call-event", Params: []planet.RawParam{{Name: "cc_param", Value: ended.CCParam.Reveal()}}}
	if err := s.EndCall(t.Context(), ended, entry); err != nil {
		t.Fatalf("EndCall: %v", err)
	}
	if n := secretsKept(t, s); n != 1 {
		t.Errorf("%d calls have a cc_param after one has ended, want 1", n)
	}
	if _, err := s.ExpireDeliveries(t.Context(), expired.Deadline); err != nil {
		t.Fatalf("ExpireDeliveries: %v", err)
	}
	if n := secretsKept(t, s); n != 0 {
		t.Errorf("%d calls have a cc_param after their deadline, want none", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(file, []byte(ended.SessionID)) {
		t.Fatal("the file does not hold what was written")
	}
	if bytes.Contains(file, []byte(testlog.Text)) {
		t.Error("cc_param is still in the file")
	}
}

func secretsKept(t *testing.T, s *Store) (n int) {
	t.Helper()
	err := s.readers.read(context.Background(), func(l *link) error {
		_, err := l.One(`SELECT count(*) FROM calls WHERE cc_param <> ''`, sqldb.Into([]any{&n}))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Devices of an older schema stay when it is brought up to date.
func TestDevicesSurviveTheirMigration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bell.db")
	upTo(t, path, 1)
	want := bell.Device{ID: "old", SessionID: "session", PushToken: planet.Secret(testlog.HexSecret(1, 64)), APNsServerGuessed: true}
	db, err := openPool(path, writerPragmas, 1)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(`INSERT INTO devices (id, environment, service_id, user_id, project, session_id, app_type, app_version, app_id,
		channel, push_token, apns_server, apns_server_guessed, registered_at, last_seen_at, expires_at)
		VALUES (?, '', '', '', '', ?, '', '', '', '', ?, '', 1, 0, 0, 0)`, want.ID, want.SessionID, want.PushToken.Reveal())
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, path)
	got, err := s.Device(t.Context(), "old")
	if err := errors.Join(err, s.Close()); err != nil || got != want {
		t.Errorf("the old device is %+v, %v", got, err)
	}
}

// Entries of an older schema stay, in their order, and their repeats are still found.
func TestTheJournalSurvivesItsMigration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bell.db")
	upTo(t, path, 9)
	db, err := openPool(path, writerPragmas, 1)
	if err != nil {
		t.Fatal(err)
	}
	var want []bell.JournalEntry
	for n, key := range []string{"c", "", "a", ""} {
		e := bell.JournalEntry{ReceivedAt: time.UnixMicro(int64(1 + n/2)).UTC(), Kind: "k", SessionID: "1", DedupKey: key}
		want = append(want, e)
		_, wrong := db.Exec(`INSERT INTO journal (received_at, project, environment, kind, session_id, dedup_key, params)
			VALUES (?, '', '', ?, ?, ?, '')`, sqldb.Micros(e.ReceivedAt), e.Kind, string(e.SessionID), key)
		err = errors.Join(err, wrong)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, path)
	repeat := want[0]
	repeat.ReceivedAt = repeat.ReceivedAt.Add(time.Hour)
	err = s.AppendJournal(t.Context(), repeat)
	got, read := s.Journal(t.Context(), "1")
	if err := errors.Join(err, read, s.Close()); err != nil {
		t.Fatal(err)
	}
	equal(t, got, want)
}
