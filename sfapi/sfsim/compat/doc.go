// Package compat lets a client that was written by others, for the real Salesforce, talk to the simulator. It is a module of
// its own, so that the dependencies of that client stay out of Penstock.
package compat
