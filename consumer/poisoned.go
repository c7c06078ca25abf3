//go:build poison

package consumer

import (
	"bytes"
	"os"
	"strings"
)

// The places where this build lets payloads do harm.
const (
	stageMap  = "map"
	stageCall = "call"
)

// poison lets a payload that names the stage panic ("PANIC-map") or end the process as a crash does ("KILL-call"), which
// no test could make the real mapper or client do.
func poison(stage string, payloads ...[]byte) {
	for _, payload := range payloads {
		if bytes.Contains(payload, []byte("PANIC-"+stage)) {
			panic("poison at " + strings.ToUpper(stage))
		}
		if bytes.Contains(payload, []byte("KILL-"+stage)) {
			process, err := os.FindProcess(os.Getpid())
			if err == nil {
				_ = process.Kill()
			}
			select {}
		}
	}
}
