package main

import (
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
		RunE:    func(cmd *cobra.Command, _ []string) error { return initialise(cmd, o) },
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
		return configFailure(cmd, err)
	}
	if err := writePrivate(o.dir, file, content, o.force); err != nil {
		return err
	}
	nextSteps(cmd.OutOrStdout(), loaded, o)
	return nil
}

// initValues are what the template is filled with. Text is quoted for YAML.
type initValues struct {
	Name, Environment, ServiceID, APIKey, APISecret, APISecretFile, BaseURL string
	AdminToken, SigningKey, ClientKey, CallbackSecret                       string
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
// one is kept under another name if it may be replaced, and is an error otherwise.
func writePrivate(dir, file string, content []byte, replace bool) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	if replace {
		if err := os.Rename(file, file+".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("keep the old configuration: %w", err)
		}
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write the configuration: %w", errors.Join(err, os.Remove(file)))
	}
	return nil
}

func nextSteps(w io.Writer, loaded *config.Loaded, o initOptions) {
	cfg, p := &loaded.Config, printer{w: w}
	project := &cfg.Projects[0]
	step := 0
	next := func(format string, args ...any) {
		step++
		p.line("%d. "+format, append([]any{step}, args...)...)
	}
	p.line("Wrote %s, readable by you only. It holds secrets: keep it out of version control.", loaded.File)
	p.line("")
	if keys := project.Placeholders(); len(keys) > 0 {
		next("Replace the placeholders in it (%s) by what the LINE Planet Console shows.", strings.Join(keys, ", "))
		p.line("   Until then the server starts and takes callbacks, but LINE Planet refuses its access tokens.")
	}
	if o.baseURL == "" {
		next("Set public.base_url to the https address that LINE Planet can reach; the URLs below")
		p.line("   are of this machine only.")
	}
	next("Register these in the LINE Planet Console, project %s (%s). They contain a secret:", project.ServiceID, project.Environment)
	p.callbacks(project, cfg, project.CallbackSecret.Reveal())
	next("Give your apps client_key from the file, as apiKey of register_user.")
	next("Add push credentials (apns, fcm) to the file; without them only clients that poll will ring.")
	config := ""
	if o.dir != "." {
		config = " --config " + loaded.File
	}
	next("planetbell config check%s", config)
	next("planetbell serve%s", config)
}

// randomHex returns n random bytes in hexadecimal.
func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails; it ends the process instead
	return hex.EncodeToString(b)
}
