package planet

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseSessionID(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     SessionID
		problem  string
	}{
		{"1-to-1", "6364e8b3-bdac-436e-9631-0bce2498ce0c", "6364e8b3-bdac-436e-9631-0bce2498ce0c", ""},
		{"upper case, as inside param", "6364E8B3-BDAC-436E-9631-0BCE2498CE0C", "6364e8b3-bdac-436e-9631-0bce2498ce0c", ""},
		{"group, 32 digits", "59db2167e13911ea83a8213945545d1c", "59db2167e13911ea83a8213945545d1c", ""},
		{"one character", "Z", "z", ""},
		{"longest", strings.Repeat("a", 64), SessionID(strings.Repeat("a", 64)), ""},
		{"empty", "", "", "is empty"},
		{"too long", strings.Repeat("a", 65), "", "65 bytes"},
		{"space", "ab cd", "", "at byte 3"},
		{"underscore", "a_b", "", "at byte 2"},
		{"not ASCII", "ﬀ", "", "at byte 1"},
		{"line break", "a\n", "", "at byte 2"},
		{"NUL", "\x00", "", "at byte 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseSessionID(c.in)
			wantProblem(t, err, c.problem)
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestValidateIDs(t *testing.T) {
	for _, c := range []struct {
		name     string
		validate func(string) error
		in       string
		problem  string
	}{
		{"user", ValidateUserID, "Alice_01-x", ""},
		{"user, longest", ValidateUserID, strings.Repeat("u", 64), ""},
		{"user, empty", ValidateUserID, "", "user ID is empty"},
		{"user, too long", ValidateUserID, strings.Repeat("u", 65), "user ID has 65 bytes"},
		{"user, dot", ValidateUserID, "a.b", "at byte 2"},
		{"user, slash", ValidateUserID, "../etc", "at byte 1"},
		{"user, Unicode digit", ValidateUserID, "a٣", "at byte 2"},
		{"room", ValidateRoomID, "room_1", ""},
		{"room, at sign", ValidateRoomID, "room@1", "room ID has a forbidden character"},
		{"service", ValidateServiceID, "my-service.dev", ""},
		{"service, underscore", ValidateServiceID, "my_service", "service ID has a forbidden character"},
		{"service, empty", ValidateServiceID, "", "service ID is empty"},
		{"key", ValidateAPIKey, strings.Repeat("aZ0-_", 32), ""},
		{"key, line break", ValidateAPIKey, "key\n", "API key has a forbidden character"},
		{"key, too long", ValidateAPIKey, strings.Repeat("k", 513), "513 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantProblem(t, c.validate(c.in), c.problem)
		})
	}
}

func TestIDErrorsDoNotRepeatTheID(t *testing.T) {
	const id = "CANARY\x1b[31m"
	for _, validate := range []func(string) error{ValidateUserID, ValidateRoomID, ValidateServiceID, ValidateAPIKey} {
		if err := validate(id); err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("error %v repeats what came", err)
		}
	}
}

func TestEnvironment(t *testing.T) {
	for _, c := range []struct {
		in        string
		want      Environment
		base, api string
		problem   string
	}{
		{
			"evaluation", Evaluation,
			"https://voipnx-saturn.line-apps-rc.com", "https://vpnx-stn-api.line-apps-rc.com", "",
		},
		{"Real", Real, "https://voipnx-saturn.line-apps.com", "https://vpnx-stn-api.line-apps.com", ""},
		{"prod", "", "", "", `"evaluation" or "real"`},
		{"", "", "", "", "environment is unknown"},
	} {
		got, err := ParseEnvironment(c.in)
		wantProblem(t, err, c.problem)
		if got != c.want || got.PlanetBaseURL() != c.base || got.APIBaseURL() != c.api {
			t.Errorf("%q: got %q with %q and %q", c.in, got, got.PlanetBaseURL(), got.APIBaseURL())
		}
	}
}

func TestParseCallType(t *testing.T) {
	for in, want := range map[string]CallType{"A": AudioCall, "a": AudioCall, "V": VideoCall, "v": VideoCall} {
		if got, err := ParseCallType(in); err != nil || got != want {
			t.Errorf("%q: got %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "X", "AV", " A"} {
		if got, err := ParseCallType(in); err == nil || got != "" {
			t.Errorf("%q: got %q, %v; want an error", in, got, err)
		}
	}
}

func TestUserRefString(t *testing.T) {
	if got := (UserRef{ServiceID: "my-service", UserID: "bob"}).String(); got != "my-service/bob" {
		t.Errorf("got %q", got)
	}
}

func TestSessionIDProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.StringMatching(`[0-9A-Za-z-]{1,64}`).Draw(t, "sid")
		got, err := ParseSessionID(in)
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		for _, other := range []string{strings.ToUpper(in), strings.ToLower(in), string(got)} {
			if again, err := ParseSessionID(other); err != nil || again != got {
				t.Fatalf("%q gave %q, %v; want %q", other, again, err, got)
			}
		}
	})
}

// wantProblem fails unless err is nil for an empty problem, or says the problem.
func wantProblem(t testing.TB, err error, problem string) {
	t.Helper()
	switch {
	case problem == "" && err != nil:
		t.Fatalf("unexpected error: %v", err)
	case problem != "" && err == nil:
		t.Fatalf("no error; want one that says %q", problem)
	case problem != "" && !strings.Contains(err.Error(), problem):
		t.Fatalf("error %q does not say %q", err, problem)
	}
}
