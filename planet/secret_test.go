package planet

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/planetbell/planetbell/internal/testlog"
)

// holder is how secrets lie about in programs: by value, by pointer, in lists, in
// maps, embedded.
type holder struct {
	Token   Secret            `json:"token" yaml:"token"`
	Param   CCParam           `json:"param" yaml:"param"`
	Pointer *Secret           `json:"pointer" yaml:"pointer"`
	List    []Secret          `json:"list" yaml:"list"`
	Map     map[string]Secret `json:"map" yaml:"map"`
	Any     any               `json:"any" yaml:"any"`
	Inner   inner             `json:"inner" yaml:"inner"`
}

type inner struct{ Params []CCParam }

type xmlHolder struct {
	Token Secret
	Param CCParam `xml:",attr"`
}

func newHolder() (holder, []string) {
	token, param := testlog.TextSecret("token"), testlog.CCParam(1)
	s := Secret(token)
	h := holder{
		Token: s, Param: CCParam(param), Pointer: &s, List: []Secret{s},
		Map: map[string]Secret{"k": s}, Any: s, Inner: inner{Params: []CCParam{CCParam(param)}},
	}
	// What a leak would look like, in clear, in hexadecimal, as numbers.
	bad := []string{testlog.Text, fmt.Sprintf("%x", testlog.Text), fmt.Sprintf("%X", testlog.Text), "67 65 78 65 82 89"}
	return h, bad
}

func TestNoVerbPrintsSecrets(t *testing.T) {
	h, bad := newHolder()
	verbs := []string{
		"%v", "%+v", "%#v", "%s", "%q", "%+q", "%#q", "%x", "%X", "% x", "%#x", "%d", "%b", "%o", "%O",
		"%c", "%U", "%t", "%e", "%E", "%f", "%F", "%g", "%G", "%z", "%!", "%20s", "%-20v", "%.2s", "%08d", "%T",
	}
	for _, value := range []any{
		h.Token, h.Param, h.List, h.Map, h.Any, &h.Token, h, &h,
		[]any{h.Token},
		[1]CCParam{h.Param},
		NotifyCallback{CCParam: h.Param},
		&Notification{CCParam: h.Param},
		AccessTokenIssuer{ServiceID: "s", APISecret: h.Token},
	} {
		for _, verb := range verbs {
			got := fmt.Sprintf(verb, value)
			testlog.Keep(t, verb, got)
			for _, b := range bad {
				if strings.Contains(got, b) {
					t.Errorf("%s of %T prints the secret", verb, value)
				}
			}
		}
	}
}

func TestNoVerbLosesThatThereIsASecret(t *testing.T) {
	for _, c := range []struct{ format, want string }{
		{"%v", "<secret>"},
		{"%s", "<secret>"},
		{"%q", `"<secret>"`},
		{"%x", "<secret>"},
		{"%d", "<secret>"},
		{"%10s|", "  <secret>|"},
		{"%-10v|", "<secret>  |"},
		{"%.3s", "<se"},
	} {
		if got := fmt.Sprintf(c.format, Secret("x")); got != c.want {
			t.Errorf("%s: got %q, want %q", c.format, got, c.want)
		}
	}
	if got, want := fmt.Sprintf("%#v %#v", Secret("x"), CCParam("")), "planet.Secret(<secret>) planet.CCParam()"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := fmt.Sprint(Secret(""), CCParam("")); strings.TrimSpace(got) != "" {
		t.Errorf("empty secrets print %q", got)
	}
	if got := Secret("x").GoString() + CCParam("x").GoString(); got != "planet.Secret(<secret>)planet.CCParam(<secret>)" {
		t.Errorf("GoString gives %q", got)
	}
}

func TestNoExtraArgumentPrintsSecrets(t *testing.T) {
	h, _ := newHolder()
	format := strings.ToLower("NO VERB") // so that vet does not see the mistake
	for _, got := range []string{
		fmt.Sprintf(format, h.Token, h.Param),
		fmt.Sprintf(format+" %*d", h.Token, 1),
		fmt.Sprintln(h.Token, h),
		fmt.Sprint(h.Param, &h),
		fmt.Errorf("wrapped: %w", fmt.Errorf("%v", h)).Error(),
	} {
		testlog.Keep(t, "text", got)
		if strings.Contains(got, testlog.Text) {
			t.Errorf("prints the secret: the text has %d bytes", len(got))
		}
	}
}

func TestNoEncoderWritesSecrets(t *testing.T) {
	h, _ := newHolder()
	encoders := map[string]func() ([]byte, error){
		"json":        func() ([]byte, error) { return json.Marshal(h) },
		"json indent": func() ([]byte, error) { return json.MarshalIndent(&h, "", " ") },
		"yaml":        func() ([]byte, error) { return yaml.Marshal(h) },
		"yaml value":  func() ([]byte, error) { return yaml.Marshal(h.Token) },
		"xml": func() ([]byte, error) {
			return xml.Marshal(xmlHolder{h.Token, h.Param})
		},
	}
	for name, encode := range encoders {
		got, err := encode()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		testlog.Keep(t, name, string(got))
		if bytes.Contains(got, []byte(testlog.Text)) {
			t.Errorf("%s writes the secret", name)
		}
		if !bytes.Contains(got, []byte("secret")) {
			t.Errorf("%s does not say that there is one", name)
		}
	}
}

func TestNoLogHoldsSecrets(t *testing.T) {
	h, _ := newHolder()
	var out bytes.Buffer
	options := &slog.HandlerOptions{Level: slog.LevelDebug}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, options), slog.NewJSONHandler(&out, options)} {
		log := slog.New(handler).With("with", h.Token)
		log.Info("one", "token", h.Token, "param", h.Param, "holder", h, "pointer", &h, "list", h.List, "map", h.Map)
		log.Info("group", slog.Group("g", "token", h.Token, slog.Any("inner", h.Inner)))
	}
	testlog.Keep(t, "log", out.String())
	if strings.Contains(out.String(), testlog.Text) {
		t.Error("the log holds a secret")
	}
	if !strings.Contains(out.String(), "token=<secret>") {
		t.Error("the log does not say that there is one")
	}
}

func TestReveal(t *testing.T) {
	text := testlog.CCParam(7)
	if Secret(text).Reveal() != text || CCParam(text).Reveal() != text {
		t.Error("Reveal changes the text")
	}
}

func TestFingerprint(t *testing.T) {
	// sha256("abc") begins with ba7816bf: FIPS 180-2, appendix B.1.
	if got := Secret("abc").Fingerprint(); got != "ba7816bf" {
		t.Errorf("got %q", got)
	}
	if got := Secret("").Fingerprint(); got != "" {
		t.Errorf("an empty secret has the fingerprint %q", got)
	}
}
