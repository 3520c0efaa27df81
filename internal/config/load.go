package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// FileNames are the places where a configuration file is looked for when none is named.
var FileNames = []string{"planetbell.yaml", "/etc/planetbell/planetbell.yaml"}

// maxFile bounds every file that is read here; the largest honest one, a certificate
// bundle, has a few hundred kilobytes.
const maxFile = 4 << 20

// Options say where settings come from.
type Options struct {
	// File is the configuration file. Empty: PLANETBELL_CONFIG, then the first of FileNames
	// that exists, then none.
	File string
	// Content is used instead of what is in File, to check a file before it is written.
	Content []byte
	// Environ is the environment, as os.Environ gives it.
	Environ []string
	// Flags were given on the command line.
	Flags []Flag
	// Now is the time against which certificates are checked; time.Now if nil.
	Now func() time.Time
}

// Flag is a setting given on the command line.
type Flag struct {
	Name  string // as typed, such as --public-address
	Path  string // the setting, such as public.address
	Value string
}

// Loaded is a checked configuration, and where it came from.
type Loaded struct {
	Config   Config
	File     string    // the file that was read; empty for none
	Settings []Setting // every setting in the order of the structs
	Warnings []Problem // what works but is probably not meant
	// SecretFiles are the files that hold secrets, as far as the settings name them: those
	// that a secret was read from, and keys. The configuration file itself is one if a secret
	// is written in it. Sorted, each once.
	SecretFiles []string
}

// Load reads and checks a configuration. It fails with [ErrNothing] when there is
// none, with an [*Error] when there is a wrong one, and then also returns what could
// be read, so that it can be shown. It is safe for concurrent use.
func Load(o Options) (*Loaded, error) {
	file, content, err := findFile(o)
	if err != nil {
		return nil, err
	}
	l := newLayers()
	if file != "" {
		if err := l.addFile(file, content); err != nil {
			return nil, err
		}
	}
	if err := l.addEnv(o.Environ); err != nil {
		return nil, err
	}
	if err := l.addFlags(o.Flags); err != nil {
		return nil, err
	}
	if file == "" && !l.merged.Exists("projects") && len(l.problems.errors) == 0 {
		return nil, ErrNothing
	}
	d := &decoder{layers: l, file: file, folder: filepath.Dir(file), problems: l.problems}
	l.problems.where = d.where
	loaded := &Loaded{Config: Default(), File: file}
	d.section(reflect.ValueOf(&loaded.Config).Elem(), "")
	d.dataPaths(&loaded.Config)
	now := time.Now
	if o.Now != nil {
		now = o.Now
	}
	c := &checker{problems: l.problems, now: now()}
	c.config(&loaded.Config)
	c.privateFiles(d)
	slices.Sort(c.secretFiles)
	loaded.SecretFiles = slices.Compact(c.secretFiles)
	l.problems.sort()
	loaded.Settings = d.settings(&loaded.Config)
	loaded.Warnings = l.problems.warnings
	if len(l.problems.errors) > 0 {
		return loaded, &Error{Problems: l.problems.errors}
	}
	return loaded, nil
}

// findFile returns the configuration file's name and content, or two empty ones when
// there is none and none was asked for.
func findFile(o Options) (string, []byte, error) {
	if o.Content != nil {
		return o.File, o.Content, nil
	}
	name, asker := o.File, "--config"
	if name == "" {
		for _, entry := range o.Environ {
			if value, ok := strings.CutPrefix(entry, FileVariable+"="); ok {
				name, asker = value, FileVariable
			}
		}
	}
	if name != "" {
		content, err := readFile(name)
		if err != nil {
			return "", nil, &Error{Problems: []Problem{{Where: asker, Message: name + ": " + fileSentence(err)}}}
		}
		return name, content, nil
	}
	for _, name := range FileNames {
		content, err := readFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", nil, &Error{Problems: []Problem{{Where: name, Message: fileSentence(err)}}}
		}
		return name, content, nil
	}
	return "", nil, nil
}

var errTooLarge = errors.New("file too large")

// readFile reads a file of reasonable size.
func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("look at the file: %w", err)
	}
	if info.IsDir() {
		return nil, errIsFolder
	}
	if info.Size() > maxFile {
		return nil, errTooLarge
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	return content, nil
}

// ReadSecret reads the file of a secret, of at most 4 MB, without the white space around
// it. The error is a sentence that begins with the file's name.
func ReadSecret(name string) (planet.Secret, error) {
	content, err := readFile(name)
	if err != nil {
		return "", errors.New(name + ": " + fileSentence(err))
	}
	text := strings.TrimSpace(string(content))
	if text == "" {
		return "", errors.New(name + ": is empty.")
	}
	return planet.Secret(text), nil
}

var errIsFolder = errors.New("is a folder")

// fileSentence says why a file could not be read, without its name, which stands before
// it in a message.
func fileSentence(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file."
	case errors.Is(err, fs.ErrPermission):
		return "may not be read by this user; change its owner or mode."
	case errors.Is(err, errIsFolder):
		return "is a folder, want a file."
	case errors.Is(err, errTooLarge):
		return fmt.Sprintf("is larger than %d MB; this cannot be the right file.", maxFile>>20)
	default:
		return "cannot be read."
	}
}
