package sim

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/planet"
)

func TestRoomStory(t *testing.T) {
	ref, start := planet.RoomRef{ServiceID: "s", RoomID: "r"}, time.UnixMilli(1_700_000_000_000)
	for _, ends := range []bool{false, true} {
		a, b := NewRoomStory(ref, 50, start, ends, 3), NewRoomStory(ref, 50, start, ends, 3)
		if !reflect.DeepEqual(a.Events, b.Events) || a.SessionID != b.SessionID || len(a.SessionID) != 32 {
			t.Error("the same seed tells another story")
		}
		if other := NewRoomStory(ref, 50, start, ends, 4); other.SessionID == a.SessionID {
			t.Error("another seed tells the same run")
		}
		seen := map[string]int{}
		for _, e := range a.Events {
			for _, p := range e {
				if p.Name == "sc" || p.Name == "msc" {
					seen[p.Name+p.Value]++
				}
			}
		}
		for _, what := range []string{"scS", "scC", "mscC", "mscD", "mscT", "mscM"} {
			if seen[what] == 0 {
				t.Errorf("nothing of the kind %s happens", what)
			}
		}
		if seen["scS"] != 1 || seen["scE"] != map[bool]int{false: 0, true: 1}[ends] {
			t.Errorf("it starts %d times and ends %d times", seen["scS"], seen["scE"])
		}
	}
}

func TestControlRooms(t *testing.T) {
	w, _ := newTestWorld(t)
	ask := func(method, body string) answer {
		return mustDo(t, testClient(t), request(t, method, w.Settings().ControlURL+"/rooms", nil, []byte(body)))
	}
	if a := ask("POST", `{"room":"lounge"}`); a.status != 400 || !strings.Contains(a.body, "at least one user") {
		t.Errorf("%+v", a)
	}
	ask("POST", `{"room":"lounge","users":["bob","alice"]}`)
	ask("POST", `{"room":"lounge","users":["carol"]}`)
	ask("POST", `{"room":"attic","users":["dora"]}`)
	var rooms []roomState
	if err := json.Unmarshal([]byte(ask("GET", "").body), &rooms); err != nil {
		t.Fatal(err)
	}
	if len(rooms) != 2 || !strings.HasSuffix(rooms[0].Room, "/attic") || !slices.Equal(rooms[1].Users, []string{"alice", "bob", "carol"}) {
		t.Errorf("%+v", rooms)
	}
}
