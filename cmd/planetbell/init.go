package main

import (
	"cmp"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/planet"
)

//go:embed init.yaml.tmpl
var initTemplate string

// initOptions are the flags of `planetbell init`.
type initOptions struct {
	dir, name, environment, serviceID, apiKey, apiSecret, apiSecretFile, baseURL string

	force bool
}

func newInit() *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a configuration with fresh secrets",
		Long: `Write planetbell.yaml, readable by you only, with fresh secrets, and print the callback
URLs to register in the LINE Planet Console. LINE credentials that are not given become
marked placeholders: the server starts and takes callbacks with them, but LINE Planet
refuses the access tokens that it issues.`,
		Example: `  planetbell init --service-id my-service --api-key KEY --api-secret-file - --base-url https://calls.example.com`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("config") {
				return usageError(cmd, errors.New("--config names a configuration that exists; say with --dir where to write a new one"))
			}
			return initialise(cmd, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.dir, "dir", ".", "folder to write planetbell.yaml to; made if needed")
	f.StringVar(&o.name, "name", "main", "your short name for the project")
	f.StringVar(&o.environment, "environment", string(planet.Evaluation), "evaluation or real")
	f.StringVar(&o.serviceID, "service-id", "", "service ID from the LINE Planet Console")
	f.StringVar(&o.apiKey, "api-key", "", "API key from the LINE Planet Console")
	f.StringVar(&o.apiSecret, "api-secret", "", "API secret; better use --api-secret-file, other users can see command lines")
	f.StringVar(&o.apiSecretFile, "api-secret-file", "", "file with the API secret, which the configuration then refers to; - reads it from standard input")
	f.StringVar(&o.baseURL, "base-url", "", "how LINE Planet and the clients will see the server, such as https://calls.example.com")
	f.BoolVar(&o.force, "force", false, "replace an existing planetbell.yaml, kept as planetbell.yaml.old; all secrets change")
	cmd.MarkFlagsMutuallyExclusive("api-secret", "api-secret-file")
	complete(cmd, "environment", fixed(string(planet.Evaluation), string(planet.Real)))
	for _, name := range []string{"name", "service-id", "api-key", "api-secret", "base-url"} {
		complete(cmd, name, cobra.NoFileCompletions)
	}
	return cmd
}

func initialise(cmd *cobra.Command, o initOptions) error {
	file := filepath.Join(o.dir, "planetbell.yaml")
	if _, err := os.Lstat(file); err == nil && !o.force {
		return &exitError{code: exitFailed, err: fmt.Errorf("%s exists and was left as it is; --force replaces it and keeps it as %s.old", file, file)}
	}
	content, err := o.content(cmd.InOrStdin())
	if err != nil {
		return err
	}
	loaded, err := config.Load(config.Options{File: file, Content: content})
	if err != nil {
		return o.refused(cmd, err)
	}
	kept, err := writePrivate(o.dir, file, content, o.force)
	if err != nil {
		return err
	}
	nextSteps(cmd.OutOrStdout(), loaded, o, kept)
	return nil
}

// initFlags are the flags that the settings come from.
var initFlags = map[string]string{
	"projects[0].name":            "--name",
	"projects[0].environment":     "--environment",
	"projects[0].service_id":      "--service-id",
	"projects[0].api_key":         "--api-key",
	"projects[0].api_secret":      "--api-secret",
	"projects[0].api_secret_file": "--api-secret-file",
	"public.base_url":             "--base-url",
}

// refused says what is wrong with the flags; the file that they were meant for does not
// exist.
func (o initOptions) refused(cmd *cobra.Command, err error) error {
	var wrong *config.Error
	if !errors.As(err, &wrong) {
		return err
	}
	for _, p := range wrong.Problems {
		p.Where, p.Path = "", cmp.Or(initFlags[p.Path], p.Path)
		if p.Path == "--api-secret" && o.apiSecretFile != "" {
			p.Path = "--api-secret-file"
		}
		cmd.PrintErrln(p)
	}
	return &exitError{code: exitFailed, err: errors.New("nothing was written")}
}

// initValues are what the template is filled with. Text is quoted for YAML.
type initValues struct {
	Name, Environment, ServiceID, APIKey, APISecret, APISecretFile, BaseURL string
	AdminToken, SigningKey, ClientKey, CallbackSecret                       string
	VAPIDKey, VAPIDSubject                                                  string
	Placeholders                                                            bool
}

// content renders the file.
func (o initOptions) content(stdin io.Reader) ([]byte, error) {
	secret, secretFile, err := o.secret(stdin)
	if err != nil {
		return nil, err
	}
	serviceID, apiKey := o.serviceID, o.apiKey
	if serviceID == "" {
		serviceID = config.PlaceholderServiceID
	}
	if apiKey == "" {
		apiKey = config.PlaceholderAPIKey
	}
	if secret == "" && secretFile == "" {
		secret = config.PlaceholderAPISecret
	}
	v := initValues{
		Name: strconv.Quote(o.name), Environment: strconv.Quote(o.environment), ServiceID: strconv.Quote(serviceID),
		APIKey: strconv.Quote(apiKey), APISecret: strconv.Quote(secret.Reveal()), BaseURL: strconv.Quote(o.baseURL),
		AdminToken: randomHex(24), SigningKey: randomHex(32), ClientKey: randomHex(16), CallbackSecret: randomHex(24),
		VAPIDKey: bell.NewVAPIDKey().Reveal(), VAPIDSubject: strconv.Quote(o.contact()),
		Placeholders: o.serviceID == "" || o.apiKey == "" || secret == config.PlaceholderAPISecret,
	}
	if secretFile != "" {
		v.APISecret, v.APISecretFile = "", strconv.Quote(secretFile)
	}
	var b strings.Builder
	if err := template.Must(template.New("planetbell.yaml").Parse(initTemplate)).Execute(&b, v); err != nil {
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	return []byte(b.String()), nil
}

// contact is whom push services of browsers may write to: the server itself, if it has a name.
func (o initOptions) contact() string {
	if bell.CheckVAPIDSubject(o.baseURL) == nil {
		return o.baseURL
	}
	return config.PlaceholderVAPIDSubject
}

// secret returns the API secret, or the absolute path of the file that holds it.
func (o initOptions) secret(stdin io.Reader) (planet.Secret, string, error) {
	switch o.apiSecretFile {
	case "":
		return planet.Secret(o.apiSecret), "", nil
	case "-":
		const most = 1024 // an API secret has 64 characters
		text, err := io.ReadAll(io.LimitReader(stdin, most))
		if err != nil {
			return "", "", errors.New("read the API secret from standard input: it cannot be read")
		}
		if text := strings.TrimSpace(string(text)); text != "" {
			return planet.Secret(text), "", nil
		}
		return "", "", errors.New("standard input holds no API secret")
	}
	file, err := filepath.Abs(o.apiSecretFile)
	if err != nil {
		return "", "", fmt.Errorf("find the file of the API secret: %w", err)
	}
	return "", file, nil
}

// writePrivate writes a file for its owner's eyes only, whole or not at all. An existing
// one is kept if it may be replaced, under the name that is returned, and is an error
// otherwise.
func writePrivate(dir, file string, content []byte, replace bool) (kept string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the folder: %w", err)
	}
	if replace {
		if kept, err = setAside(file); err != nil {
			return "", fmt.Errorf("keep the old configuration: %w", err)
		}
	}
	if err := writeNew(file, content); err != nil {
		return "", fmt.Errorf("write the configuration: %w%s", err, putBack(kept, file))
	}
	return kept, nil
}

// writeNew writes a file that does not exist yet, as far as the disk, or leaves none.
func writeNew(file string, content []byte) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(file))
	}
	return nil
}

// putBack undoes setAside, and says where the old configuration is.
func putBack(kept, file string) string {
	if kept == "" {
		return ""
	}
	_, err := os.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) && os.Rename(kept, file) == nil {
		return "; the old one is in its place again"
	}
	return "; the old one is " + kept
}

// maxKept bounds how many old configurations are kept beside the new one.
const maxKept = 100

// setAside gives a file the first free name of file.old, file.old.2 and so on: an older
// one may hold the only copy of a secret, so it is never replaced. It returns "" when
// there is no file.
func setAside(file string) (string, error) {
	for n := 1; n <= maxKept; n++ {
		old := file + ".old"
		if n > 1 {
			old += "." + strconv.Itoa(n)
		}
		if _, err := os.Lstat(old); err == nil {
			continue
		}
		err := os.Rename(file, old)
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil
		}
		return old, err
	}
	return "", fmt.Errorf("there are %d already beside %s; remove some", maxKept, file)
}

func nextSteps(w io.Writer, loaded *config.Loaded, o initOptions, kept string) {
	cfg, p := &loaded.Config, printer{w: w}
	project := &cfg.Projects[0]
	step := 0
	next := func(format string, args ...any) {
		step++
		p.line("%d. "+format, append([]any{step}, args...)...)
	}
	suffix := ""
	if o.dir != "." {
		suffix = " --config " + loaded.File
	}
	p.line("Wrote %s, readable by you only. It holds secrets: keep it out of version control.", loaded.File)
	if kept != "" {
		p.line("The one before is %s. All secrets are new: what was registered with the old", kept)
		p.line("ones is refused, and every app has to sign in again.")
	}
	p.line("")
	if keys := project.Placeholders(); len(keys) > 0 {
		next("Replace the placeholders in it (%s) by what the LINE Planet Console shows.", strings.Join(keys, ", "))
		p.line("   Until then the server starts and takes callbacks, but LINE Planet refuses its access tokens.")
	}
	if o.baseURL == "" {
		next("Set public.base_url to the https address that LINE Planet can reach. The URLs below are")
		p.line("   of this machine only; then `%s config urls%s` prints the right ones.", program(), suffix)
	}
	service := ""
	if project.ServiceID != config.PlaceholderServiceID {
		service = project.ServiceID + ", "
	}
	next("Register these in the LINE Planet Console, for %sthe %s environment. They contain a secret:", service, project.Environment)
	p.callbacks(project, cfg, project.CallbackSecret.Reveal())
	next("Give your apps client_key from the file, as apiKey of register_user.")
	next("Add push credentials (apns, fcm) to the file; without them only browsers and clients that poll will ring.")
	next("%s config check%s", program(), suffix)
	next("%s serve%s", program(), suffix)
}

// randomHex returns n random bytes in hexadecimal.
func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails; it ends the process instead
	return hex.EncodeToString(b)
}
