module apogee.test/clients/scenarios

go 1.25.0

require apogee.test/clients/go v0.0.0

replace apogee.test/clients/go => ../go

require apogee.test/clients/acting v0.0.0

replace apogee.test/clients/acting => ../acting
