// Package devstack starts throw-away servers for tests and the demo: a Postgres of its own in a temporary directory, and
// a NATS server with JetStream inside this process.
//
//	pg, err := devstack.StartPostgres(ctx, devstack.PostgresOptions{})
//	defer pg.Stop()
//	dsn, err := pg.NewDatabase(ctx)
//
//	broker, err := devstack.StartNATS(devstack.NATSOptions{})
//	defer broker.Stop()
//	nc, err := broker.Connect()
//
// Both can be stopped and started again on the same data and the same address, and Postgres can be killed: promises about
// crashes are tested with crashes. Nothing here is hardened: Postgres trusts everybody who reaches it and, unless asked to,
// does not fsync. The shipped service never links this package.
package devstack
