package planet

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

// family is one of the tables, as tests go through them.
type family struct {
	name    Family
	codes   []int
	explain func(int) ReasonInfo
	release func(code int) Release
}

func families() []family {
	return []family{
		{FamilyDisconnectReason, slices.Sorted(maps.Keys(disconnectReasons)), DisconnectReason, func(n int) Release { return Release{DisconnectReason: &n} }},
		{FamilyCallEndReason, slices.Sorted(maps.Keys(callEndReasons)), CallEndReason, func(n int) Release { return Release{CallEndReason: &n} }},
		{FamilyReleaseCode, slices.Sorted(maps.Keys(releaseCodes)), ReleaseCode, func(n int) Release { return Release{Code: &n} }},
		{FamilyTerminate, slices.Sorted(maps.Keys(terminateReasons)), TerminateReason, func(n int) Release { return Release{Terminate: &n} }},
		{"releaser_type", slices.Sorted(maps.Keys(releaserTypes)), ReleaserType, nil},
	}
}

func isJapanese(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return unicode.In(r, unicode.Hiragana, unicode.Katakana, unicode.Han) })
}

// Every number has a meaning of its own in both languages, but for those of which LINE
// Planet publishes no more than their names, and those that are no longer in use.
func TestMeaningsInBothLanguages(t *testing.T) {
	for _, f := range families() {
		seen := map[string]int{}
		for _, code := range f.codes {
			info := f.explain(code)
			en, ja := info.In(English), info.In(Japanese)
			if en == "" || en != info.Meaning || isJapanese(en) {
				t.Errorf("%s %d: English %q, Meaning %q", f.name, code, en, info.Meaning)
			}
			if !isJapanese(ja) || strings.HasSuffix(ja, "。") || strings.ContainsAny(ja, ".,()") {
				t.Errorf("%s %d: Japanese %q", f.name, code, ja)
			}
			if info.In("") != en || info.In("ko") != en {
				t.Errorf("%s %d: a language that there is not is not English", f.name, code)
			}
			if f.name == FamilyReleaseCode && generic(code) || strings.HasPrefix(info.Name, "DEPRECATED_") {
				continue
			}
			for _, text := range []string{en, ja} {
				if other, ok := seen[text]; ok {
					t.Errorf("%s: %d and %d both say %q", f.name, other, code, text)
				}
				seen[text] = code
			}
		}
	}
}

// What is the same in English is the same in Japanese, in all families.
func TestMeaningsAgreeBetweenFamilies(t *testing.T) {
	japanese := map[string]string{}
	for _, f := range families() {
		for _, code := range f.codes {
			info := f.explain(code)
			if was, ok := japanese[info.Meaning]; ok && was != info.In(Japanese) {
				t.Errorf("%s %d: %q is %q and elsewhere %q", f.name, code, info.Meaning, info.In(Japanese), was)
			}
			japanese[info.Meaning] = info.In(Japanese)
		}
	}
}

// The Japanese tables have the numbers of the English ones, no more.
func TestJapaneseTablesMatch(t *testing.T) {
	for name, pair := range map[string][2][]int{
		"terminate":         {slices.Sorted(maps.Keys(terminateReasons)), slices.Sorted(maps.Keys(terminateReasonsJA))},
		"call_end_reason":   {slices.Sorted(maps.Keys(callEndReasons)), slices.Sorted(maps.Keys(callEndReasonsJA))},
		"disconnect_reason": {slices.Sorted(maps.Keys(disconnectReasons)), slices.Sorted(maps.Keys(disconnectReasonsJA))},
		"releaser_type":     {slices.Sorted(maps.Keys(releaserTypes)), slices.Sorted(maps.Keys(releaserTypesJA))},
		"rel_code":          {slices.Sorted(maps.Keys(releaseCodeMeanings)), slices.Sorted(maps.Keys(releaseCodeMeaningsJA))},
	} {
		if !slices.Equal(pair[0], pair[1]) {
			t.Errorf("%s: English %v, Japanese %v", name, pair[0], pair[1])
		}
	}
}

func TestAdviceInBothLanguages(t *testing.T) {
	for code, w := range disconnectAdvice {
		if !DisconnectReason(code).Known {
			t.Errorf("advice about %d, which there is not", code)
		}
		if !strings.HasSuffix(w.en, ".") || isJapanese(w.en) || !strings.HasSuffix(w.ja, "。") || !isJapanese(w.ja) {
			t.Errorf("%d: %q, %q", code, w.en, w.ja)
		}
	}
	for code, like := range callEndAdvice {
		if !CallEndReason(code).Known || disconnectAdvice[like].en == "" {
			t.Errorf("call_end_reason %d is advised like %d", code, like)
		}
	}
	for code, like := range terminateAdvice {
		if !TerminateReason(code).Known || disconnectAdvice[like].en == "" {
			t.Errorf("terminate %d is advised like %d", code, like)
		}
	}
	// Those that operators ask about: see docs/line-planet.md 2, 3.6 and 4.3.
	for _, code := range []int{1202, 1203, 1302, 1303, 1304, 1313, 1501, 1502, 1511, 1512} {
		n := code
		if (Release{DisconnectReason: &n}).Explain(AllCalls).Advice(Japanese) == "" {
			t.Errorf("no advice about %d", code)
		}
	}
	// Where all is as it should be there is nothing to be done.
	for _, code := range []int{1001, 1002, 1003, 1201, 1206, 1207, 1402} {
		n := code
		if got := (Release{DisconnectReason: &n}).Explain(AllCalls).Advice(English); got != "" {
			t.Errorf("advice about %d: %q", code, got)
		}
	}
}

// Every number of every table explains itself in whole sentences.
func TestExplainEveryNumber(t *testing.T) {
	for _, f := range families() {
		for _, code := range f.codes {
			if f.release == nil {
				continue
			}
			e := f.release(code).Explain(AllCalls)
			if e.Family != f.name || e.Reason.Code != code || !e.Reason.Known {
				t.Errorf("%s %d: decided by %s %d", f.name, code, e.Family, e.Reason.Code)
			}
			checkExplanation(t, e)
			if generic := f.name == FamilyReleaseCode && generic(code); generic != strings.Contains(e.What(English), "("+e.Reason.Name+")") {
				t.Errorf("%s %d: %q", f.name, code, e.What(English))
			}
		}
	}
}

// failer is what the checks need of tests of both kinds.
type failer interface{ Errorf(string, ...any) }

func checkExplanation(t failer, e Explanation) {
	for _, l := range Languages() {
		for _, text := range []string{e.What(l), e.Who(l), e.Advice(l)} {
			end := map[Language]string{English: ".", Japanese: "。"}[l]
			switch {
			case text == "" && text == e.Advice(l):
			case !strings.HasSuffix(text, end), strings.HasSuffix(text, end+end), isJapanese(text) != (l == Japanese), strings.Contains(text, "%!"):
				t.Errorf("%+v in %s: %q", e, l, text)
			}
		}
		if e.EndedBy.In(l) == "" {
			t.Errorf("%+v: nobody in %s", e, l)
		}
	}
	if (e.Advice(English) == "") != (e.Advice(Japanese) == "") {
		t.Errorf("%+v: advice in one language only", e)
	}
}

// numbers makes a release of "disconnect_reason=1203 releaser_type=2" and the like.
func numbers(t *testing.T, text string) Release {
	e, err := ParseCallEvent(query(t, "sid="+callSID+"&"+strings.ReplaceAll(text, " ", "&")))
	if err != nil {
		t.Fatal(err)
	}
	return e.Release
}

func TestExplainGolden(t *testing.T) {
	for _, c := range []struct {
		release string
		family  Family
		endedBy Party
		en, ja  string
	}{
		{"disconnect_reason=1001 releaser_type=1", FamilyDisconnectReason, PartyCallee, "Ended without an error.", "エラーなく終了しました。"},
		{
			"disconnect_reason=1201 terminate=77 rel_code=2", FamilyDisconnectReason, PartyCaller,
			"The caller hung up before the answer.", "応答される前に、発信者が電話を切りました。",
		},
		{"disconnect_reason=1203 terminate=18", FamilyDisconnectReason, PartyCaller, "Nobody answered within 60 seconds.", "60秒以内に応答がありませんでした。"},
		{"disconnect_reason=1202", FamilyDisconnectReason, PartyCallee, "The callee was in a call.", "着信者は通話中でした。"},
		{
			"disconnect_reason=1302 rel_code=205", FamilyDisconnectReason, PartyCloud,
			"The app server could not be called, or answered Notify with a failure.",
			"Planet Cloudがアプリサーバーを呼び出せなかったか、Notifyに対してアプリサーバーがエラーを返しました。",
		},
		{
			"disconnect_reason=1313", FamilyDisconnectReason, PartyCloud,
			"Planet Cloud could not hand the app server data to the app server.", "Planet Cloudがアプリサーバーデータをアプリサーバーに渡せませんでした。",
		},
		{"disconnect_reason=1501", FamilyDisconnectReason, PartyCloud, "The access token was not accepted.", "アクセストークンが受け付けられませんでした。"},
		{"disconnect_reason=1301", FamilyDisconnectReason, PartyUnknown, "The network could not keep the call.", "ネットワークが不安定なため、通話を維持できませんでした。"},
		{"call_end_reason=1005 terminate=16 rel_code=1 releaser=responder", FamilyCallEndReason, PartyCallee, "The callee hung up.", "着信者が電話を切りました。"},
		{"rel_code=231 rel_code_str=INVALID_PUSH_RSP", FamilyReleaseCode, PartyCloud, "The app server answered Notify in a way that Planet Cloud did not understand.", "Notifyに対するアプリサーバーの応答を、Planet Cloudが解釈できませんでした。"},
		{"rel_code=209", FamilyReleaseCode, PartyCloud, "Something went wrong inside Planet Cloud (DB_ERROR).", "Planet Cloudの内部で障害が発生しました（DB_ERROR）。"},
		{"terminate=21", FamilyTerminate, PartyCallee, "The callee refused.", "着信者が応答を拒否しました。"},
		{"", "", PartyUnknown, "LINE Planet gave no reason.", "LINE Planetから理由は通知されませんでした。"},
		{
			"disconnect_reason=1999", FamilyDisconnectReason, PartyUnknown,
			"LINE Planet gave the disconnect_reason 1999, which this version does not know.",
			"LINE Planetからdisconnect_reason 1999が通知されましたが、このバージョンでは説明できません。",
		},
		// The number that decides the outcome is the one explained.
		{"disconnect_reason=1001 terminate=77", FamilyTerminate, PartyCaller, "The caller hung up before the answer.", "応答される前に、発信者が電話を切りました。"},
		{"disconnect_reason=1999 rel_code=4", FamilyReleaseCode, PartyCallee, "The callee was in a call.", "着信者は通話中でした。"},
	} {
		e := numbers(t, c.release).Explain(AllCalls)
		if e.Family != c.family || e.EndedBy != c.endedBy || e.What(English) != c.en || e.What(Japanese) != c.ja {
			t.Errorf("%q: %s, %s, %q, %q", c.release, e.Family, e.EndedBy, e.What(English), e.What(Japanese))
		}
	}
}

func TestWhoEndedIt(t *testing.T) {
	for release, want := range map[string]Party{
		"releaser_type=1": PartyCallee, "releaser_type=2": PartyCaller, "releaser_type=3": PartyParticipant,
		"releaser_type=4": PartyCloud, "releaser_type=5": PartyAppServer,
		"releaser_type=0": PartyUnknown, "releaser_type=6": PartyUnknown, "releaser_type=-1": PartyUnknown,
		"releaser=initiator": PartyCaller, "releaser=Responder": PartyCallee, "releaser=voip-12.example": PartyCloud, "releaser=": PartyUnknown,

		// releaser_type, then releaser, then the reason.
		"releaser_type=1 releaser=initiator disconnect_reason=1201": PartyCallee,
		"releaser_type=0 releaser=initiator disconnect_reason=1202": PartyCaller,
		"releaser_type=0 disconnect_reason=1202":                    PartyCallee,

		"disconnect_reason=1002": PartyUnknown, // the callee, or the cloud
		"disconnect_reason=1003": PartyUnknown, // one of the clients
		"disconnect_reason=1110": PartyUnknown,
		"disconnect_reason=1405": PartyParticipant,
		"disconnect_reason=1206": PartyCloud,
		"call_end_reason=1000":   PartyCaller, "call_end_reason=1003": PartyCallee, "call_end_reason=1002": PartyUnknown,
		"call_end_reason=1020": PartyCloud, "call_end_reason=1024": PartyUnknown, "call_end_reason=1100": PartyUnknown,
		"rel_code=2": PartyCaller, "rel_code=202": PartyCloud, "rel_code=418": PartyCloud, "rel_code=101": PartyUnknown,
		"rel_code=299": PartyUnknown, "rel_code=505": PartyUnknown, "rel_code=1000": PartyUnknown,
		"terminate=77": PartyCaller, "terminate=17": PartyCallee, "terminate=18": PartyUnknown, "terminate=127": PartyUnknown,
	} {
		if got := numbers(t, release).Explain(AllCalls).EndedBy; got != want {
			t.Errorf("%q: %s, want %s", release, got, want)
		}
	}
}

// Where a number means two things, the kind of call chooses, and everywhere else it changes
// nothing.
func TestExplainByKindOfCall(t *testing.T) {
	for _, f := range families() {
		for _, code := range f.codes {
			if f.release == nil {
				continue
			}
			both := f.release(code).Explain(AllCalls)
			for _, kind := range []CallKind{OneToOneCalls, GroupCalls} {
				e := f.release(code).Explain(kind)
				checkExplanation(t, e)
				differs := e.What(English) != both.What(English) && e.What(Japanese) != both.What(Japanese)
				if double := f.name == FamilyDisconnectReason && (code == 1002 || code == 1110); differs != double {
					t.Errorf("%s %d in a call of kind %s: %q", f.name, code, kind, e.What(English))
				}
				e.Reason.Meaning, e.Reason.japanese = both.Reason.Meaning, both.Reason.japanese
				if e != both {
					t.Errorf("%s %d in a call of kind %s: %+v", f.name, code, kind, e)
				}
			}
		}
	}
	declined := numbers(t, "disconnect_reason=1002")
	if got := declined.Explain(OneToOneCalls).What(English); got != "The callee refused." {
		t.Errorf("1-to-1: %q", got)
	}
	if got := declined.Explain(GroupCalls).What(Japanese); got != "同じユーザーが入り直したため、以前の参加が終了しました。" {
		t.Errorf("group: %q", got)
	}
}

func TestWhoSentences(t *testing.T) {
	for party, want := range map[Party][2]string{
		PartyCaller:    {"It was ended by the caller.", "終了させたのは発信者です。"},
		PartyCloud:     {"It was ended by Planet Cloud.", "終了させたのはPlanet Cloudです。"},
		PartyUnknown:   {"It is not known who ended it.", "誰が終了させたかは不明です。"},
		"":             {"It is not known who ended it.", "誰が終了させたかは不明です。"},
		"of tomorrow":  {"It is not known who ended it.", "誰が終了させたかは不明です。"},
		PartyAppServer: {"It was ended by the app server.", "終了させたのはアプリサーバーです。"},
	} {
		e := Explanation{EndedBy: party}
		if e.Who(English) != want[0] || e.Who(Japanese) != want[1] {
			t.Errorf("%q: %q, %q", party, e.Who(English), e.Who(Japanese))
		}
	}
}

func TestParseLanguage(t *testing.T) {
	for _, l := range Languages() {
		if got, err := ParseLanguage(string(l)); got != l || err != nil {
			t.Errorf("%s: %s, %v", l, got, err)
		}
	}
	for _, text := range []string{"", "EN", "ko", "ja-JP", "\x1b[31m"} {
		if got, err := ParseLanguage(text); err == nil || got != "" || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

// No combination of numbers, whatever they are, is without words; and what decides the
// outcome is what is explained.
func TestExplainProperties(t *testing.T) {
	number := rapid.Custom(func(t *rapid.T) *int {
		if rapid.Bool().Draw(t, "missing") {
			return nil
		}
		n := rapid.OneOf(rapid.IntRange(0, 650), rapid.IntRange(995, 1620), rapid.Int()).Draw(t, "number")
		return &n
	})
	rapid.Check(t, func(t *rapid.T) {
		r := Release{
			Terminate: number.Draw(t, "terminate"), DisconnectReason: number.Draw(t, "disconnect"), CallEndReason: number.Draw(t, "call end"),
			ReleaserType: number.Draw(t, "releaser type"), Releaser: rapid.StringN(-1, 20, 60).Draw(t, "releaser"),
			Code: number.Draw(t, "code"), CodeName: rapid.String().Draw(t, "name"), UserCode: rapid.String().Draw(t, "user code"),
		}
		e := r.Explain(rapid.SampledFrom([]CallKind{AllCalls, OneToOneCalls, GroupCalls, "", "of tomorrow"}).Draw(t, "kind"))
		checkExplanation(t, e)
		none := r.Terminate == nil && r.DisconnectReason == nil && r.CallEndReason == nil && r.Code == nil
		if (e.Family == "") != none {
			t.Fatalf("decided by %q", e.Family)
		}
		if _, ok := partyNames[e.EndedBy]; !ok {
			t.Fatalf("ended by %q", e.EndedBy)
		}
		if outcome := (CallEvent{Release: r}).Outcome(); !none && outcome != OutcomeFailed {
			var alone Release
			n := e.Reason.Code
			switch e.Family {
			case FamilyDisconnectReason:
				alone.DisconnectReason = &n
			case FamilyCallEndReason:
				alone.CallEndReason = &n
			case FamilyReleaseCode:
				alone.Code = &n
			case FamilyTerminate:
				alone.Terminate = &n
			}
			if got := (CallEvent{Release: alone}).Outcome(); got != outcome {
				t.Fatalf("explained %s %s, which is %s; the outcome is %s", e.Family, strconv.Itoa(n), got, outcome)
			}
		}
	})
}
