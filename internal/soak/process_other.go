//go:build unix && !linux

package main

import "syscall"

// attributes puts an instance into a process group of its own, so that Ctrl-C reaches it through us only. Only Linux can
// also kill it when we die without a chance to stop it.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
