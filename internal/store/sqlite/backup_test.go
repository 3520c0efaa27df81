package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/store/sqldb"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func unseen(int64, int64) {}

// ring begins a call and returns it, with its delivery.
func ring(t testing.TB, s *Store, n int64) (bell.Call, bell.Delivery) {
	t.Helper()
	c, deliveries, raw := benchCall(n)
	if _, err := s.BeginCall(context.Background(), c, deliveries, raw); err != nil {
		t.Fatalf("BeginCall: %v", err)
	}
	return c, deliveries[0]
}

// wantOnly holds a folder to hold these files and no others.
func wantOnly(t *testing.T, folder string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, e := range entries {
		have = append(have, e.Name())
	}
	equal(t, have, names)
}

// wantRefused holds an error to be a sentence without secrets.
func wantRefused(t *testing.T, what string, err error, says string) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s succeeded", what)
	}
	testlog.Keep(t, what, err.Error())
	if !strings.Contains(err.Error(), says) {
		t.Errorf("%s = %q, want it to say %q", what, err, says)
	}
}

func wantSound(t *testing.T, s *Store) {
	t.Helper()
	var integrity string
	err := s.readers.read(t.Context(), func(l *link) error {
		_, err := l.One(`PRAGMA integrity_check`, sqldb.Into([]any{&integrity}))
		return err
	})
	if err != nil || integrity != "ok" {
		t.Errorf("integrity check says %q, %v", integrity, err)
	}
}

// A backup made while calls come in is sound, has all that was committed before it, holds
// no secret, and stops no write; the log is emptied after it.
func TestBackupUnderLoad(t *testing.T) {
	s := newStore(t)
	settle(t, s)
	var mu sync.Mutex
	var committed []planet.SessionID
	begin := func(n int64) {
		c, deliveries, raw := benchCall(n)
		if _, err := s.BeginCall(context.Background(), c, deliveries, raw); err != nil {
			t.Errorf("BeginCall: %v", err)
			return
		}
		mu.Lock()
		committed = append(committed, c.SessionID)
		mu.Unlock()
	}
	for n := range int64(4 * maxGroup) {
		begin(n)
	}
	load, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for worker := range int64(4) {
		wg.Go(func() {
			for n := worker; load.Err() == nil; n++ {
				begin(n)
			}
		})
	}
	folder := t.TempDir()
	file := filepath.Join(folder, "backup.db")
	mu.Lock()
	before := append([]planet.SessionID(nil), committed...)
	mu.Unlock()
	looks := 0
	saved, err := Backup(t.Context(), s.path, file, func(done, total int64) {
		looks++
		if done > total || total == 0 {
			t.Errorf("%d of %d pages are copied", done, total)
		}
		begin(1) // returns: the copy stands in no write's way
	})
	stop()
	wg.Wait()
	if err != nil {
		t.Fatalf("Backup: %v", err)
	}
	if looks == 0 || saved.Calls < int64(len(before)) || saved.Ringing != saved.Calls || saved.Schema == 0 {
		t.Errorf("%d looks, %+v; %d calls were committed before", looks, saved, len(before))
	}
	wantBackup(t, file, before)
	wantOnly(t, folder, "backup.db")

	c, _ := ring(t, s, 1)
	if err := s.EndCall(t.Context(), c, bell.JournalEntry{Kind: "call-event"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ExpireDeliveries(t.Context(), c.Deadline.AddDate(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	settle(t, s)
	if logHoldsSecret(t, s) {
		t.Error("the log was not emptied after the backup")
	}
}

// wantBackup looks into a backup.
func wantBackup(t *testing.T, file string, calls []planet.SessionID) {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("the backup has mode %s", info.Mode())
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(content, []byte(testlog.Text)) {
		t.Error("the backup holds a cc_param")
	}
	path := filepath.Join(t.TempDir(), "planetbell.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, path)
	defer func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	wantSound(t, s)
	for _, sid := range calls {
		record, err := s.Call(t.Context(), planet.Evaluation, sid)
		if err != nil || len(record.Deliveries) != 1 || record.Deliveries[0].Delivery.State != bell.DeliveryExpired {
			t.Fatalf("call %s is in the backup as %+v, %v", sid, record.Deliveries, err)
		}
	}
}

// What has no secret rings on after a restore: a notice, or a call whose app gives none.
func TestBackupKeepsDeliveriesWithoutSecrets(t *testing.T) {
	s := newStore(t)
	c, deliveries, raw := benchCall(1)
	c.CCParam = ""
	if _, err := s.BeginCall(t.Context(), c, deliveries, raw); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "backup.db")
	if saved, err := Backup(t.Context(), s.path, file, unseen); err != nil || saved.Ringing != 0 || saved.Calls != 1 {
		t.Fatalf("Backup = %+v, %v", saved, err)
	}
	kept := openStore(t, file)
	record, err := kept.Call(t.Context(), c.Environment, c.SessionID)
	if err := errors.Join(err, kept.Close()); err != nil {
		t.Fatal(err)
	}
	if state := record.Deliveries[0].Delivery.State; state != bell.DeliveryPending {
		t.Errorf("the delivery is %s", state)
	}
}

// Pages that were erased before are not in the backup either.
func TestBackupHoldsNoErasedSecret(t *testing.T) {
	s := newStore(t)
	for n := range int64(50) {
		c, _ := ring(t, s, n)
		if err := s.EndCall(t.Context(), c, bell.JournalEntry{Kind: "call-event"}); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "backup.db")
	if _, err := Backup(t.Context(), s.path, file, unseen); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil || bytes.Contains(content, []byte(testlog.Text)) {
		t.Errorf("the backup holds a cc_param: %v", err)
	}
}

// A database at rest is copied too, and is left as it was.
func TestBackupOfAStoppedServer(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "planetbell.db")
	s := openStore(t, path)
	c, _ := ring(t, s, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "backup.db")
	if _, err := Backup(t.Context(), path, file, unseen); err != nil {
		t.Fatal(err)
	}
	wantBackup(t, file, []planet.SessionID{c.SessionID})
	wantOnly(t, folder, "planetbell.db", "planetbell.db.lock")
}

func TestBackupsThatCannotBe(t *testing.T) {
	s := newStore(t)
	ring(t, s, 1)
	folder := t.TempDir()
	backup := func(from, to string) error {
		_, err := Backup(t.Context(), from, filepath.Join(folder, to), unseen)
		return err
	}
	wantRefused(t, "no database", backup(filepath.Join(folder, "absent.db"), "b"), "there is no database to copy")
	wantRefused(t, "no folder", backup(s.path, "absent/b"), "make a file beside")
	if err := backup(s.path, "b"); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, "a second one", backup(s.path, "b"), "exists and was left as it is")
	if err := os.WriteFile(filepath.Join(folder, "text"), bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, "a text", backup(filepath.Join(folder, "text"), "c"), "it is damaged, or no database")
	other := filepath.Join(folder, "other")
	db, err := sql.Open("sqlite", "file:"+other)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(`CREATE TABLE calls (id INTEGER)`)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, "another's", backup(other, "d"), "not a database of planetbell")
	wantOnly(t, folder, "b", "other", "text")
}

// A backup that is no longer wanted leaves nothing, and the server as it was.
func TestBackupStops(t *testing.T) {
	s := newStore(t)
	folder := t.TempDir()
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := Backup(ctx, s.path, filepath.Join(folder, "b"), func(int64, int64) { cancel(errTest) })
	if !errors.Is(err, errTest) {
		t.Errorf("Backup = %v", err)
	}
	wantOnly(t, folder)
	ring(t, s, 1)
}
