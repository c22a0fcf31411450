# The subject is hidden if the script or the administrator wants it.
# sieve_perot_encrypt_certs = ~/own
require ["vnd.perot.encrypt", "fileinto"];
if header "Subject" "Nightingales" { fileinto "a subject"; }
encrypt :hidesubject;
if header "Subject" "[...]" { fileinto "no subject"; }
