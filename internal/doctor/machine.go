package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// The least free space: calls are recorded while it lasts, and SQLite needs some to make room.
const (
	leastSpace = 1 << 30 // bytes
	leastShare = 20      // a twentieth of the file system
	// otherFiles is what is open beside polls: connections to providers, the database, files.
	otherFiles = 500
)

func (e *exam) machine(context.Context) {
	e.folder()
	e.files()
	limit, err := e.o.FileLimit()
	switch need := uint64(e.cfg.Limits.LongPolls) + otherFiles; {
	case errors.Is(err, errors.ErrUnsupported):
		e.skip("open files", "this system has no such limit")
	case err != nil:
		e.skip("open files", "the limit cannot be read")
	case limit < need:
		e.fault("open files", "file-limit", "This process may open %d files; limits.long_polls (%d) needs %d. A service may have another limit than this shell.", limit, e.cfg.Limits.LongPolls, need)
	default:
		e.ok("open files", "%d may be open, %d are needed at most.", limit, need)
	}
}

// folder looks whether data_dir, or where it will be made, can be written, and has room.
func (e *exam) folder() {
	dir := e.cfg.DataDir
	for {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || filepath.Dir(dir) == dir {
			break
		}
		dir = filepath.Dir(dir) // it is made at start
	}
	if err := scratch(dir); err != nil {
		e.fault("data_dir", "data-dir", "Nothing can be written in %s.", dir)
		return
	}
	free, size, err := e.o.Space(dir)
	switch {
	case err != nil:
		e.ok("data_dir", "%s can be written; how much room there is this system does not tell.", dir)
	case free < leastSpace || free < size/leastShare:
		e.fault("data_dir", "disk-space", "%d MB are free, of %d MB.", free>>20, size>>20)
	default:
		e.ok("data_dir", "%s can be written, and %d MB are free.", dir, free>>20)
	}
}

// scratch writes a page to a file of its own, as far as the disk, and removes it.
func scratch(dir string) error {
	f, err := os.CreateTemp(dir, ".planetbell-doctor-*")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// files looks at who may read files with secrets. Those that the configuration has warned of,
// because everybody can read them, are not told again.
func (e *exam) files() {
	if runtime.GOOS == "windows" {
		e.skip("files", "this system's files have no mode")
		return
	}
	looked, bad, told := map[string]bool{}, 0, 0
	look := func(name string, warned bool) {
		info, err := os.Stat(name)
		if name == "" || looked[name] || err != nil || !info.Mode().IsRegular() {
			return
		}
		looked[name] = true
		mode := info.Mode().Perm()
		switch {
		case mode&0o066 == 0:
			return
		case warned && mode&0o004 != 0:
			told++
			return
		}
		bad++
		e.fault(name, "file-mode", "It holds secrets, and others than its owner may read or write it (mode %04o).", mode)
	}
	for _, name := range e.o.Loaded.SecretFiles {
		look(name, true)
	}
	for i := range e.cfg.Projects {
		p := &e.cfg.Projects[i]
		for _, a := range p.APNs {
			for _, name := range []string{a.KeyFile, a.CertificateKeyFile, a.P12File, a.P12PasswordFile} {
				look(name, true)
			}
		}
		look(p.FCM.ServiceAccountFile, true)
	}
	look(e.cfg.Public.TLS.KeyFile, true)
	look(e.cfg.Admin.TLS.KeyFile, true)
	look(e.cfg.Bus.CredentialsFile, false)
	if e.cfg.Database.URL == "" {
		look(e.cfg.Database.Path, false)
	}
	switch {
	case told > 0:
		e.skip("files", "not told again: everybody can read %d of %d file(s) with secrets, see config", told, len(looked))
	case bad == 0:
		e.ok("files", "%d file(s) with secrets are their owner's only.", len(looked))
	}
}
