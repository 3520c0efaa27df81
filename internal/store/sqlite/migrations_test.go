package sqlite

import (
	"context"
	"errors"
	"io/fs"
	"testing"

	"github.com/pressly/goose/v3"
)

// upTo makes a database of an older release.
func upTo(t *testing.T, path string, version int64) {
	t.Helper()
	db, err := openPool(path, writerPragmas, 1)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, folder, goose.WithDisableGlobalRegistry(true))
	if err == nil {
		_, err = provider.UpTo(context.Background(), version)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatalf("make a database of schema %d: %v", version, err)
	}
}
