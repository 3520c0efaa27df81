package cluster

import (
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestTheClockIsTheDatabases(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		skew := time.Duration(rapid.Int64Range(-3600_000, 3600_000).Draw(rt, "skew")) * time.Millisecond
		ways := rapid.SliceOfN(rapid.IntRange(0, 400), 12, 12).Draw(rt, "ways") // milliseconds, there and back
		synctest.Test(t, func(*testing.T) {
			c := newClock(func() time.Time { return time.Now().Add(skew) })
			best := time.Hour
			var last time.Time
			for i := 0; i < len(ways); i += 2 {
				asked := c.local()
				<-time.After(time.Duration(ways[i]) * time.Millisecond)
				database := time.Now().Round(0)
				<-time.After(time.Duration(ways[i+1]) * time.Millisecond)
				if c.learn(asked, c.local(), database) {
					rt.Errorf("a steady clock was taken for one that was set")
				}
				best = min(best, time.Duration(ways[i]+ways[i+1])*time.Millisecond)
				if i == 0 {
					last = c.now()
				}
				now := c.now()
				if now.Before(last) {
					rt.Errorf("time went back by %v", last.Sub(now))
				}
				last = now
			}
			<-time.After(10 * time.Second) // it was ahead by 200 ms at the most
			for range 20 {
				database := time.Now().Round(0)
				c.learn(c.local(), c.local(), database)
			}
			if off := c.now().Sub(time.Now().Round(0)).Abs(); off > time.Millisecond {
				rt.Errorf("after answers without delay it is off by %v", off)
			}
			if off := (c.off() + skew).Abs(); off > time.Millisecond {
				rt.Errorf("a skew of %v is told as %v", -skew, c.off())
			}
		})
	})
}

func TestAMachineWhoseClockIsSetKeepsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock(time.Now) // has a monotonic reading
		c.learn(c.local(), c.local(), time.Now().Add(time.Minute).Round(0))
		<-time.After(time.Second)
		if off := c.now().Sub(time.Now().Round(0)); off != time.Minute {
			t.Errorf("it is %v ahead", off)
		}
	})
}

func TestTimeGoesOnWhenTheDatabaseIsSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock(time.Now)
		c.learn(c.local(), c.local(), time.Now().Round(0))
		began := c.now()
		if !c.learn(c.local(), c.local(), time.Now().Round(0).Add(-10*time.Second)) {
			t.Error("that it was set back was not seen")
		}
		<-time.After(8 * time.Second)
		if took := c.now().Sub(began); took != 4*time.Second {
			t.Errorf("in 8 seconds it went on by %v", took)
		}
		<-time.After(20 * time.Second)
		if off := c.now().Sub(c.database()); off != 0 {
			t.Errorf("it is still off by %v", off)
		}
		if !c.learn(c.local(), c.local(), time.Now().Round(0).Add(10*time.Second)) {
			t.Error("that it was set forward was not seen")
		}
		if off := c.now().Sub(time.Now().Round(0)); off != 10*time.Second {
			t.Errorf("it is ahead by %v", off)
		}
	})
}
