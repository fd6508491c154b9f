"""Load tests and capacity planning for Amazon MWAA, called through InvokeRestApi."""
