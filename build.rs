//! Makes Rust's side of the contract with the C shim. With the features `plugin` and `mail-plugin` it also compiles the
//! shim of that plugin against the Dovecot headers that are installed.

use std::path::{Path, PathBuf};

fn main() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // The folder is that of the package, which may be the mail plugin's.
    let folder =
        PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let project = folder.ancestors().find(|folder| folder.join("c-shim").exists());
    let project = project.expect("the folder c-shim is part of the project");
    contract(project, &out);
    #[cfg(any(feature = "plugin", feature = "mail-plugin"))]
    shim::build(project, &out);
}

fn contract(project: &Path, out: &Path) {
    let header = project.join("c-shim/perot-encrypt.h");
    println!("cargo::rerun-if-changed={}", header.display());
    let bindings = bindgen::Builder::default()
        .header(header.to_str().expect("the path of the project is UTF-8"))
        .allowlist_file(".*perot-encrypt.h")
        .prepend_enum_name(false)
        .generate()
        .expect("bindgen reads the contract; it needs libclang (apt install libclang-dev)");
    bindings.write_to_file(out.join("contract.rs")).expect("OUT_DIR can be written");
}

#[cfg(any(feature = "plugin", feature = "mail-plugin"))]
mod shim {
    use std::path::{Path, PathBuf};

    /// Every error here ends the build with one sentence.
    type Result<T> = std::result::Result<T, String>;

    /// The Sieve plugin needs Pigeonhole; the mail plugin does without.
    const IS_SIEVE: bool = cfg!(feature = "plugin");
    const SIEVE: [&str; 13] = [
        "sieve-perot-encrypt-plugin.c",
        SETTINGS,
        "ext-encrypt.c",
        "ext-pgp-encrypt.c",
        "cmd-encrypt.c",
        "tst-encrypted.c",
        "perot-dovecot.c",
        "perot-run.c",
        "perot-message.c",
        "perot-order.c",
        "perot-outcome.c",
        "perot-existing.c",
        "perot-saved.c",
    ];
    const MAIL: [&str; 6] = [
        "perot-store-plugin.c",
        SETTINGS,
        "perot-dovecot.c",
        "perot-store-encrypt.c",
        "perot-store-copy.c",
        "perot-store-save.c",
    ];
    /// The plugins contain this file, because they read the settings. It is all there is in the settings module of
    /// Dovecot 2.4.
    const SETTINGS: &str = "sieve-perot-encrypt-settings.c";

    pub fn build(project: &Path, out: &Path) {
        for watched in ["c-shim", "dovecot-headers"] {
            println!("cargo::rerun-if-changed={}", project.join(watched).display());
        }
        if let Err(why) = try_build(project, out) {
            println!("cargo::error={why}");
        }
    }

    fn try_build(project: &Path, out: &Path) -> Result<()> {
        let headers = Headers::find(project)?;
        println!("cargo::rustc-env=PEROT_DOVECOT_ABI={}", headers.dovecot_abi);
        println!("cargo::rustc-env=PEROT_PIGEONHOLE_ABI={}", headers.pigeonhole_abi);

        let mut shim = headers.compiler();
        let files: &[&str] = if IS_SIEVE { &SIEVE } else { &MAIL };
        shim.files(files.iter().map(|name| project.join("c-shim").join(name)));
        // This is not `rustc-link-lib`, because the tests of the library must link without Dovecot.
        shim.cargo_metadata(false).out_dir(out).try_compile("perot_shim").map_err(|e| e.to_string())?;
        println!("cargo::rustc-link-arg-cdylib={}", out.join("libperot_shim.a").display());
        // OpenSSL's library context and Rust's thread locals do not survive a dlclose().
        println!("cargo::rustc-link-arg-cdylib=-Wl,-z,nodelete,-z,relro,-z,now");

        if headers.era == 24 && IS_SIEVE {
            settings_module(&headers, out)?;
        }
        Ok(())
    }

    /// The installed headers.
    struct Headers<'a> {
        project: &'a Path,
        include: PathBuf,
        /// The generation of Dovecot: 23 or 24.
        era: u32,
        dovecot_abi: String,
        /// The ABI version of Pigeonhole. It is empty for the mail plugin.
        pigeonhole_abi: String,
    }

    impl<'a> Headers<'a> {
        fn find(project: &'a Path) -> Result<Self> {
            let mut headers = Self {
                project,
                include: include_dir()?,
                era: 0,
                dovecot_abi: String::new(),
                pigeonhole_abi: String::new(),
            };
            headers.probe()?;
            Ok(headers)
        }

        fn probe(&mut self) -> Result<()> {
            let mut compiler = self.base_compiler();
            let output =
                compiler.file(self.project.join("dovecot-headers/probe.h")).try_expand().map_err(|_| {
                    let pigeonhole =
                        if IS_SIEVE { " (with Pigeonhole's headers in the folder sieve)" } else { "" };
                    let include = self.include.display();
                    format!(
                        "Dovecot's headers in {include} cannot be used: apt install dovecot-dev{pigeonhole}"
                    )
                })?;
            // The preprocessor's line markers stand between the words.
            let lines = String::from_utf8_lossy(&output);
            let words: Vec<&str> =
                lines.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace).collect();
            let abi = |name: &str| {
                let version = words.windows(3).find(|w| w[..2] == ["PEROT_PROBE", name]).map(|w| w[2]);
                let version = version.and_then(|v| v.strip_prefix('"')?.strip_suffix('"'));
                version.map(str::to_owned).ok_or(format!("no ABI version of {name} in the headers"))
            };
            self.dovecot_abi = abi("dovecot")?;
            self.era = match &self.dovecot_abi[..self.dovecot_abi.len().min(4)] {
                "2.3." => 23,
                "2.4." => 24,
                _ => {
                    return Err(format!(
                        "the headers are of Dovecot {}: this version of perot-encrypt knows 2.3 and 2.4",
                        self.dovecot_abi
                    ))
                }
            };
            if IS_SIEVE {
                self.pigeonhole_abi = abi("pigeonhole")?;
            }
            Ok(())
        }

        fn base_compiler(&self) -> cc::Build {
            let mut build = cc::Build::new();
            // The build script reads what the compiler prints; cargo should not.
            build.cargo_metadata(false).warnings(false);
            build.define("HAVE_CONFIG_H", None).define("_GNU_SOURCE", None);
            build.flag(format!("-isystem{}", self.include.display()));
            if IS_SIEVE {
                build.define("PEROT_SIEVE", None);
                build.flag(format!("-isystem{}", self.include.join("sieve").display()));
            }
            build
        }

        fn compiler(&self) -> cc::Build {
            let mut build = self.base_compiler();
            build.include(self.project.join("c-shim")).include(self.project.join("dovecot-headers"));
            build.define("PEROT_DOVECOT_ERA", self.era.to_string().as_str());
            build.std("gnu11").pic(true).warnings(true).extra_warnings(true).warnings_into_errors(true);
            build.flag("-fvisibility=hidden").flag("-Wmissing-prototypes").flag("-fstack-protector-strong");
            build
        }
    }

    /// Returns the folder of Dovecot's headers. It asks `dovecot-config`, a file of shell variables that Dovecot
    /// installs beside its libraries.
    fn include_dir() -> Result<PathBuf> {
        println!("cargo::rerun-if-env-changed=DOVECOT_CONFIG");
        let named = std::env::var_os("DOVECOT_CONFIG").map(PathBuf::from);
        let usual = ["/usr/lib/dovecot", "/usr/lib64/dovecot", "/usr/local/lib/dovecot"];
        let config = named
            .or_else(|| usual.iter().map(|d| Path::new(d).join("dovecot-config")).find(|p| p.exists()))
            .ok_or(
                "Dovecot's headers are not installed: apt install dovecot-dev, or name its dovecot-config \
                 in the environment variable DOVECOT_CONFIG",
            )?;
        println!("cargo::rerun-if-changed={}", config.display());
        let text = std::fs::read_to_string(&config).map_err(|e| format!("{}: {e}", config.display()))?;
        let value = text.lines().find_map(|line| line.strip_prefix("dovecot_pkgincludedir="));
        Ok(PathBuf::from(value.unwrap_or("/usr/include/dovecot").trim_matches(['"', '\''])))
    }

    /// Builds the module by which `doveconf` of Dovecot 2.4 knows the settings, and puts it beside the plugin.
    fn settings_module(headers: &Headers<'_>, out: &Path) -> Result<()> {
        let name = "libsieve_perot_encrypt_settings.so";
        let mut compiler = headers.compiler();
        compiler.define("PEROT_SETTINGS_MODULE", None);
        let mut command = compiler.get_compiler().to_command();
        command.args(["-shared", "-fvisibility=default", "-Wl,-z,relro,-z,now", "-o"]).arg(out.join(name));
        command.arg(headers.project.join("c-shim").join(SETTINGS));
        let status = command.status().map_err(|e| e.to_string())?;
        if !status.success() {
            return Err("the settings module does not compile".into());
        }
        let beside_plugin = out.ancestors().nth(3).ok_or("OUT_DIR is not below a target folder")?;
        std::fs::copy(out.join(name), beside_plugin.join(name)).map_err(|e| e.to_string())?;
        Ok(())
    }
}
