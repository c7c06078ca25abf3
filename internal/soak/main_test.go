package main

import (
	"strings"
	"testing"

	"penstock/sfapi/sfsim"
)

func TestTheHelpNamesTheLongForm(t *testing.T) {
	t.Setenv("SOAK", "")
	var out, errOut strings.Builder
	if code := run([]string{"soak", "--help"}, &out, &errOut); code != exitProven || !strings.Contains(out.String(), "$SOAK") {
		t.Errorf("help: exit code %d\n%s%s", code, out.String(), errOut.String())
	}
}

func TestMistakesAreOfUsage(t *testing.T) {
	for name, args := range map[string][]string{
		"a rate of nothing":          {"--rate=0"},
		"a time that went backwards": {"--for=-1s"},
		"a binary that is missing":   {"--binary=nowhere"},
		"no flag":                    {"--fast"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errOut strings.Builder
			if code := run(args, &out, &errOut); code != exitUsage || errOut.String() == "" {
				t.Errorf("exit code %d, standard error %q", code, errOut.String())
			}
		})
	}
}

func TestTheOrgTakesEveryTroubleAndNoneStrikesAtFirst(t *testing.T) {
	t.Parallel()
	sim, err := sfsim.Start(org(1))
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	s := &site{sim: sim}
	if err := s.misbehave(); err != nil {
		t.Fatal(err)
	}
	if text, all := s.met(); all || !strings.Contains(text, "late commits 0") {
		t.Errorf("%q, all struck: %v", text, all)
	}
}
