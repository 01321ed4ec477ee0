module apogee.test/clients/mqadmin

go 1.25.0

require apogee.test/clients/go v0.0.0

replace apogee.test/clients/go => ../go
