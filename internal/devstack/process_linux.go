package devstack

import "syscall"

// attributes runs the program as a, in a process group of its own so that Ctrl-C reaches it through Stop only, and sends
// it a signal when we die without a chance to stop it.
func attributes(a *account, end syscall.Signal) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: end}
	if a != nil {
		attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
	return attr
}
