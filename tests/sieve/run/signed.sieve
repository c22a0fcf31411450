# The subject of a signed message is not hidden: its signature could not be checked any more.
# sieve_perot_encrypt_certs = ~/own
require ["vnd.perot.encrypt", "fileinto"];
encrypt :hidesubject;
if header "Subject" "Nightingales" { fileinto "a subject"; }
